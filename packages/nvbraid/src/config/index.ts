export { ATTRIBUTES, type AttributeRow, type Place, type When } from './attributes.ts';
export { difference } from './difference.ts';
export { type Edit, editText, type Facts, pathPatterns, perform } from './edits.ts';
export { KINDS, type Kind, type KindName } from './kinds.ts';
export { formatConfig, ignoredValues, jsonOf, type Parsed, parseConfig, treeOf } from './nvmetcli-json.ts';
export { ConfigNode, emptyTree, type Found, find, findObject, nodePath, nodesOf } from './tree.ts';

export { ATTRIBUTES, type AttributeRow, type Place, type When } from './attributes.ts';
export { type Edit, editText, type Facts, pathPatterns } from './edits.ts';
export { KINDS, type Kind, type KindName } from './kinds.ts';
export { formatConfig, type Parsed, parseConfig } from './nvmetcli-json.ts';
export type { BackendOptions } from './target-backend.ts';
export { type Applied, applyConfig, configOf, readConfig, TargetConfig } from './target-config.ts';
export { ConfigNode, emptyTree, type Found, find, findObject, nodePath, nodesOf } from './tree.ts';

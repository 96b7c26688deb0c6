import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cns, IdentifyController, IdentifyNamespace, Property, parseNamespaceDescriptors } from '@nvbraid/wire';
import { CC_ENABLE, Rig } from './fake-queue.ts';

test('a host connects, enables, identifies and sees a namespace', () => {
  const rig = new Rig();
  const { queue, controller } = rig.connect();
  assert.equal(queue.sqSize, 32);
  const cap = queue.propertyGet(Property.CAP, true);
  assert.equal(cap.status, 0);
  assert.equal(cap.dw0, 0x0f0103ff); // TO 15, CQR, 1024 entries
  assert.equal(cap.dw1, 0x08000820); // CRMS 1, CSS: NVM and Identify
  assert.equal(queue.propertyGet(Property.VS).dw0, 0x20100);
  assert.equal(queue.csts, 0);
  assert.equal(queue.setCc(CC_ENABLE).status, 0);
  assert.equal(queue.csts, 1);
  const id = queue.identify(Cns.Controller);
  assert.equal(id.status, 0);
  const fields = IdentifyController.parse(new DataView(id.reply!.buffer));
  assert.equal(fields.cntlid, controller.cntlid);
  assert.equal(fields.sn, 'S123');
  const list = queue.identify(Cns.ActiveNamespaceList);
  assert.deepEqual([...new Uint32Array(list.reply!.buffer, 0, 3)], [1, 0, 0]);
  const ns = IdentifyNamespace.parse(new DataView(queue.identify(Cns.Namespace, { nsid: 1 }).reply!.buffer));
  assert.equal(ns.nsze, 1000);
  assert.equal(ns.lbaf[0]!.lbads, 12);
  const ids = parseNamespaceDescriptors(queue.identify(Cns.NamespaceDescriptorList, { nsid: 1 }).reply!);
  assert.ok(ids.ok && ids.value.uuid === rig.subsystem.namespace(1)!.uuid && ids.value.csi === 0);
  const granted = queue.setFeature(7, 0x0003_0003);
  assert.equal(granted.dw0, 0x0003_0003);
  for (let qid = 1; qid <= 4; qid++) assert.equal(rig.connectIo(controller, qid).status, 0);
  assert.equal(rig.connectIo(controller, 5).status, 0x4182);
  queue.disconnect();
  assert.equal(controller.state, 'gone');
  assert.deepEqual(rig.log.slice(-5), [
    'closeQueue 1/1',
    'closeQueue 1/2',
    'closeQueue 1/3',
    'closeQueue 1/4',
    'controllerGone 1 connection closed',
  ]);
});

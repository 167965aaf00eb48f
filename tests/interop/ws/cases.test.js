// The broker's WebSocket as npm's `ws` sees it: connecting, login, ping and pong, fragments, what is refused, closing.

import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { test } from "node:test";
import { decode, encode } from "@msgpack/msgpack";
import WebSocket from "ws";

const URL = process.env.WAXWING_BROKER;
const FRAME = 1_048_576;
const WITHIN = { timeout: 20_000 };

/** A socket, and what comes on it. */
class Link {
  constructor(options = {}, protocols = ["waxwing.v1"]) {
    this.frames = [];
    this.waiting = [];
    this.socket = new WebSocket(`${URL}/v1/link`, protocols, { perMessageDeflate: false, ...options });
    this.socket.on("message", (data, binary) => {
      assert.ok(binary, "a broker sends no text");
      this.frames.push(decode(data));
      this.waiting.splice(0).forEach((look) => look());
    });
    this.ended = new Promise((resolve) => this.socket.on("close", (code, reason) => resolve({ code, reason: String(reason) })));
    this.upgraded = new Promise((resolve) => this.socket.on("upgrade", (answer) => resolve(answer.headers)));
    this.refused = new Promise((resolve) => this.socket.on("unexpected-response", (_, answer) => resolve(answer.statusCode)));
    this.socket.on("error", () => {});
  }

  async frame(name) {
    for (;;) {
      const found = this.frames.find((frame) => name in frame);
      if (found) return found[name];
      await new Promise((look) => this.waiting.push(look));
    }
  }

  /** Why the broker has ended it, and how. */
  async farewell() {
    const { code } = await this.ended;
    return { code, reason: this.frames.find((frame) => "goaway" in frame)?.goaway.reason };
  }

  /** Logs in as somebody who founds a mesh, the hello cut in pieces of so many bytes. */
  async enter(piece = FRAME) {
    const { nonce } = await this.frame("challenge");
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const key = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
    const entering = { nonce, url: URL, mesh: randomBytes(16), key, version: 0, features: {}, creation: null };
    const b = encode({ entering });
    const s = sign(null, Buffer.concat([Buffer.from("waxwing login v1\0"), b]), privateKey);
    this.send(encode({ hello: { b, s } }), piece);
    return this.frame("welcome");
  }

  send(data, piece = FRAME) {
    for (let at = 0; at < data.length; at += piece) {
      this.socket.send(data.subarray(at, at + piece), { fin: at + piece >= data.length, binary: true });
    }
  }

  /** Asks for a log that there is not, padded so that the frame has this many bytes. */
  ask(size, piece) {
    const body = (filling) => encode({ "log.get": { req: 7, after: 0, filling: new Uint8Array(filling) } });
    // The length of the filling takes 5 bytes where it is long, 2 where there is none.
    this.send(size ? body(size - body(0).length - 3) : body(0), piece);
    return this.frame("log");
  }
}

const link = (name, run) =>
  test(name, WITHIN, async () => {
    const one = new Link();
    try {
      await run(one);
    } finally {
      one.socket.terminate();
    }
  });

link("it connects, and the subprotocol is agreed on", async (one) => {
  const headers = await one.upgraded;
  assert.equal(headers["sec-websocket-protocol"], "waxwing.v1");
  assert.equal((await one.frame("challenge")).nonce.length, 32);
  assert.equal(one.socket.protocol, "waxwing.v1");
});

test("compression is offered and declined", WITHIN, async () => {
  const one = new Link({ perMessageDeflate: true });
  assert.equal((await one.upgraded)["sec-websocket-extensions"], undefined);
  await one.enter();
  assert.equal(one.socket.extensions, "");
  one.socket.terminate();
});

for (const [what, protocols] of [["no subprotocol", []], ["another subprotocol", ["waxwing.v2"]]]) {
  test(`${what} is refused with 400`, WITHIN, async () => {
    const one = new Link({}, protocols);
    assert.equal(await one.refused, 400);
    one.socket.terminate();
  });
}

link("a ping is answered with what was in it", async (one) => {
  await one.frame("challenge");
  const pong = new Promise((resolve) => one.socket.on("pong", resolve));
  one.socket.ping(Buffer.alloc(125, 7));
  assert.deepEqual(await pong, Buffer.alloc(125, 7));
});

link("a pong that nobody asked for changes nothing", async (one) => {
  await one.frame("challenge");
  one.socket.pong("hello");
  await one.enter();
});

for (const piece of [1, 100]) {
  link(`a login in fragments of ${piece} bytes is one message`, async (one) => {
    assert.equal((await one.enter(piece)).login, null);
    assert.equal((await one.ask(0, piece)).head, null);
  });
}

for (const piece of [FRAME, 300_000]) {
  link(`the largest message, in pieces of ${piece} bytes, is read`, async (one) => {
    await one.enter();
    assert.equal((await one.ask(FRAME, piece)).req, 7);
  });
  link(`one byte more, in pieces of ${piece} bytes, ends the link as frame_too_large`, async (one) => {
    await one.enter();
    one.send(new Uint8Array(FRAME + 1), piece);
    assert.deepEqual(await one.farewell(), { code: 1005, reason: "frame_too_large" });
  });
}

link("a text ends the link as protocol_violation", async (one) => {
  await one.enter();
  one.socket.send("hello");
  assert.deepEqual(await one.farewell(), { code: 1005, reason: "protocol_violation" });
});

link("a text before the login ends the link as protocol_violation", async (one) => {
  await one.frame("challenge");
  one.socket.send("hello");
  assert.deepEqual(await one.farewell(), { code: 1005, reason: "protocol_violation" });
});

for (const code of [1000, 4999]) {
  link(`a close with code ${code} is answered with the same`, async (one) => {
    await one.enter();
    one.socket.close(code, "bye");
    assert.deepEqual(await one.ended, { code, reason: "bye" });
  });
}

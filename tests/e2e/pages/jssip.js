// JsSIP behind the same `window.phone` as the softphone's, so that every scenario is written once. No page to look at.

import JsSIP from "jssip";
import { account, addressOf, contact, credentials, domain, instance, password, server, toneHz } from "../../../examples/softphone/account.js";
import { heard, heardAt, listen, tone } from "../../../examples/softphone/sound.js";

const ICE_GATHERING_MS_MAX = 500;

// Where it draws 0 for the CSeq of an INVITE, one in 10,000, it takes that for none in the ACK, and draws again.
const { random } = Math;
Math.random = () => Math.max(random(), 1 / 10_000);

const call = { state: "none", peer: "", progress: 0, held: false, heldByPeer: false, ended: "" };
const messages = [];
const log = [];
let session = null;

const socket = new JsSIP.WebSocketInterface(server);
record(socket);
const userAgent = new JsSIP.UA({
  sockets: [socket],
  uri: `sip:${account}@${domain}`,
  authorization_user: account,
  password: password ?? null,
  instance_id: instance,
  contact_uri: `sip:${contact.user}@${contact.host};transport=ws`,
  register_expires: 300,
  connection_recovery_min_interval: 1,
  connection_recovery_max_interval: 1,
  session_timers: false,
});
userAgent.registrator().setExtraHeaders(credentials);
userAgent.on("newRTCSession", ({ session: next, originator, request }) => {
  if (originator === "local") return;
  if (session) next.terminate({ status_code: 486 });
  else begin(next, "ringing", request.from.uri.toString());
});
userAgent.on("newMessage", ({ message, originator, request }) => {
  if (originator === "local") return;
  const extensions = Object.entries(request.headers).filter(([name]) => name.startsWith("X-"));
  const headers = Object.fromEntries(extensions.map(([name, values]) => [name, values[0].raw]));
  messages.push({ from: request.from.uri.user, text: request.body, headers });
  message.accept();
});

/** Every message that passes the transport goes to the log first. */
function record(transport) {
  const send = transport.send.bind(transport);
  transport.send = (text) => (log.push({ direction: "sent", text }), send(text));
  let receive;
  Object.defineProperty(transport, "ondata", {
    get: () => receive && ((text) => (log.push({ direction: "received", text }), receive(text))),
    set: (next) => (receive = next),
  });
}

async function options() {
  return { mediaStream: await tone(toneHz), pcConfig: { iceServers: [] }, extraHeaders: credentials };
}

async function dial(target) {
  if (session) throw new Error("there is a call already");
  begin(userAgent.call(addressOf(target), await options()), "calling", target);
}

function begin(next, state, peer) {
  session = next;
  Object.assign(call, { state, peer, progress: 0, held: false, heldByPeer: false, ended: "" });
  session.on("icecandidate", ({ ready }) => setTimeout(ready, ICE_GATHERING_MS_MAX));
  session.on("progress", ({ originator, response }) => {
    if (originator !== "remote") return;
    call.progress = response.status_code;
    if (response.body) hear(next);
  });
  session.on("confirmed", () => {
    call.state = "talking";
    hear(next);
  });
  session.on("hold", ({ originator }) => originator === "remote" && (call.heldByPeer = true));
  session.on("unhold", ({ originator }) => originator === "remote" && (call.heldByPeer = false));
  session.on("refer", ({ accept, request }) => follow(accept, request.refer_to.uri.toString()));
  session.on("ended", ({ originator }) => end(next, originator === "remote" ? "hung up by the other side" : "hung up here"));
  session.on("failed", ({ originator, message, cause }) => {
    if (originator === "local") end(next, `${cause} here`);
    else if (message?.status_code) end(next, `${message.status_code} ${message.reason_phrase}`);
    else end(next, cause === JsSIP.C.causes.CANCELED ? "cancelled by the other side" : cause);
  });
}

function hear({ connection }) {
  listen(new MediaStream(connection.getReceivers().map(({ track }) => track)));
}

/** A call that was left for another ends without a word. */
function end(ended, how) {
  if (session !== ended) return;
  Object.assign(call, { state: "none", ended: how });
  session = null;
  listen(null);
}

/** Somebody asks us to call somebody else in the place of this call (RFC 3515); that call is theirs to end. */
async function follow(accept, target) {
  accept((next) => begin(next, "calling", target), await options());
}

async function refer(target) {
  const referred = session;
  await new Promise((resolve, reject) => {
    const failed = ({ status_line, cause }) => reject(new Error(`the transfer failed: ${status_line?.status_code ?? cause}`));
    referred.refer(addressOf(target), { eventHandlers: { accepted: resolve, failed, requestFailed: failed } });
  });
  if (referred.isEstablished()) referred.terminate();
}

async function hold(on) {
  await new Promise((resolve, reject) => {
    const begun = on ? session.hold({}, resolve) : session.unhold({}, resolve);
    if (!begun) reject(new Error("not now"));
  });
  call.held = on;
}

async function restartIce() {
  await new Promise((resolve, reject) => {
    const begun = session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, resolve);
    if (!begun) reject(new Error("not now"));
  });
}

async function message(target, text) {
  await new Promise((resolve, reject) => {
    const failed = ({ response, cause }) => reject(new Error(response ? `${response.status_code} ${response.reason_phrase}` : cause));
    userAgent.sendMessage(addressOf(target), text, { extraHeaders: credentials, eventHandlers: { succeeded: resolve, failed } });
  });
}

window.phone = {
  call: dial,
  answer: async () => session.answer(await options()),
  /** Ends the call in whichever way its state asks for: CANCEL, a 480, or BYE. */
  hangup: () => session?.terminate(call.state === "ringing" ? { status_code: 480 } : {}),
  press: (keys) => session.sendDTMF(keys, { transportType: "RFC2833" }),
  pressByInfo: (keys) => session.sendDTMF(keys, { transportType: "INFO" }),
  hold, restartIce, refer, message, heard, heardAt,
  status: () => ({ account, registered: userAgent.isRegistered(), call: { ...call } }),
  messages: () => messages,
  log: () => log,
};
userAgent.start();

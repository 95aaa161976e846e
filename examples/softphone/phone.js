// A SIP phone in a page: the smallest thing that shows what hookswitch does. One account (the page's #hash), one call at a time.
// `window.phone` does everything that the buttons do, and is what the end-to-end tests drive.

import { Inviter, Messager, Registerer, RegistererState, SessionState, UserAgent, Web } from "sip.js";
import { account, addressOf, contact, credentials, domain, instance, password, sendsTone, server, toneHz } from "./account.js";
import { heard, heardAt, listen, tone } from "./sound.js";

const LOG_ENTRIES_MAX = 200;
const ICE_GATHERING_MS_MAX = 500;
const RECONNECT_MS = 500;

let sendTone = sendsTone;

/** What this side sends: the microphone, or a sine where there is none or a test wants to know what it hears. */
async function outgoing(constraints) {
  if (!sendTone) {
    try {
      return await navigator.mediaDevices.getUserMedia(constraints);
    } catch (error) {
      note(`no microphone (${error.message}): sending a tone of ${toneHz} Hz`);
    }
  }
  return tone(toneHz);
}

// ---- SIP --------------------------------------------------------------------------------------------------------------------

const sessionDescriptionHandlerOptions = { constraints: { audio: true } };
/** `state`: none, calling, ringing (it is us who are called), talking. `ended`: how the last call came to its end. */
const call = { state: "none", peer: "", held: false, heldByPeer: false, muted: false, ended: "" };
const messages = [];
const log = [];
let session = null;

const userAgent = new UserAgent({
  uri: UserAgent.makeURI(`sip:${account}@${domain}`),
  displayName: account,
  authorizationUsername: account,
  authorizationPassword: password,
  instanceId: instance,
  contactName: contact.user,
  viaHost: contact.host,
  transportOptions: { server, connectionTimeout: 10, keepAliveInterval: 30 },
  logBuiltinEnabled: false,
  sessionDescriptionHandlerFactory: Web.defaultSessionDescriptionHandlerFactory(outgoing),
  sessionDescriptionHandlerFactoryOptions: {
    iceGatheringTimeout: ICE_GATHERING_MS_MAX,
    peerConnectionConfiguration: { iceServers: [] },
  },
  delegate: { onInvite, onMessage, onDisconnect },
});
record(userAgent.transport);
const registerer = new Registerer(userAgent, { expires: 300, regId: 1, extraHeaders: credentials });
registerer.stateChange.addListener(draw);

/** Every message that passes the transport goes to the log first. */
function record(transport) {
  const { onMessage } = transport;
  const send = transport.send.bind(transport);
  transport.onMessage = (text) => (note(text, "received"), onMessage(text));
  transport.send = (text) => (note(text, "sent"), send(text));
}

/** A connection that was lost is opened again, for as long as it takes. */
async function onDisconnect(error) {
  note(`disconnected${error ? `: ${error.message}` : ""}`);
  draw();
  if (!error) return;
  do await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  while (!await userAgent.reconnect().then(() => true, () => false));
  await register().catch((failure) => note(`not registered: ${failure.message}`));
}

function isRegistered() {
  return userAgent.isConnected() && registerer.state === RegistererState.Registered;
}

async function register() {
  if (!userAgent.isConnected()) await userAgent.start();
  await new Promise((resolve, reject) => {
    registerer.register({
      requestDelegate: { onAccept: resolve, onReject: ({ message }) => reject(new Error(`${message.statusCode} ${message.reasonPhrase}`)) },
    }).catch(reject);
  });
}

async function unregister() {
  await registerer.unregister();
  await userAgent.stop();
}

function uriOf(target) {
  const uri = UserAgent.makeURI(addressOf(target));
  if (!uri) throw new Error(`not an address: ${target}`);
  return uri;
}

/** `earlyMedia`: hear the other side before it answers. SIP.js can do that only where one answers alone: it ends the call if another does. */
async function dial(target, { earlyMedia = false } = {}) {
  if (session) throw new Error("there is a call already");
  const options = { extraHeaders: credentials, earlyMedia, sessionDescriptionHandlerOptions };
  await invite(new Inviter(userAgent, uriOf(target), options), target, earlyMedia);
}

async function invite(inviter, target, earlyMedia = false) {
  begin(inviter, "calling", target);
  const onReject = ({ message }) => (call.ended = `${message.statusCode} ${message.reasonPhrase}`);
  const onProgress = ({ message }) => {
    call.progress = message.statusCode;
    if (earlyMedia && message.body) hear(inviter.sessionDescriptionHandler.remoteMediaStream);
    draw();
  };
  await inviter.invite({ requestDelegate: { onReject, onProgress } });
}

/** A stream may be there before the sound in it: that comes with the other side's session description. */
function hear(stream) {
  if (stream.getAudioTracks().length > 0) listen(stream);
  else stream.onaddtrack = () => listen(stream);
}

function onInvite(invitation) {
  if (session) {
    invitation.reject({ statusCode: 486 });
    return;
  }
  begin(invitation, "ringing", invitation.remoteIdentity.uri.toString());
}

/** Somebody asks us to call somebody else in the place of this call (RFC 3515); that call is theirs to end. */
async function onRefer(referral) {
  await referral.accept();
  const inviter = referral.makeInviter({ extraHeaders: credentials, sessionDescriptionHandlerOptions });
  await invite(inviter, referral.referTo.uri.toString());
}

function begin(next, state, peer) {
  session = next;
  Object.assign(call, { state, peer, progress: 0, held: false, heldByPeer: false, muted: false, ended: "" });
  session.delegate = {
    onInvite: (request) => {
      call.heldByPeer = /^a=(sendonly|inactive)/m.test(request.body);
      draw();
    },
    onBye: (bye) => (call.ended = "hung up by the other side", bye.accept()),
    onCancel: () => (call.ended = "cancelled by the other side"),
    onRefer,
  };
  session.stateChange.addListener((now) => {
    // One that was left for another, as the other side asked.
    if (session !== next) return;
    if (now === SessionState.Established) {
      call.state = "talking";
      hear(session.sessionDescriptionHandler.remoteMediaStream);
    } else if (now === SessionState.Terminated) {
      Object.assign(call, { state: "none", ended: call.ended || "hung up here" });
      session = null;
      listen(null);
    }
    draw();
  });
  draw();
}

async function answer() {
  await session.accept({ sessionDescriptionHandlerOptions });
}

/** Ends the call in whichever way its state asks for: CANCEL, a 480, or BYE. */
async function hangup() {
  if (call.state === "calling") await session.cancel();
  else if (call.state === "ringing") await session.reject({ statusCode: 480 });
  else if (call.state === "talking") await session.bye();
}

async function hold(on) {
  await offerAgain({ hold: on });
  call.held = on;
  passSound();
}

/** New ICE credentials and candidates, as after a change of networks (RFC 8445 §9). */
async function restartIce() {
  await offerAgain({ hold: call.held, offerOptions: { iceRestart: true } });
}

async function offerAgain(options) {
  session.sessionDescriptionHandlerOptionsReInvite = options;
  await new Promise((resolve, reject) => {
    const onReject = ({ message }) => reject(new Error(`${message.statusCode} ${message.reasonPhrase}`));
    session.invite({ requestDelegate: { onAccept: resolve, onReject } }).catch(reject);
  });
}

/** Asks the other side to call `target` instead of us; the call ends when it has. */
async function refer(target) {
  const referred = session;
  await new Promise((resolve, reject) => {
    const onNotify = (notification) => {
      notification.accept();
      const [, status] = notification.request.body.match(/^SIP\/2\.0 (\d{3})/) ?? [];
      if (status >= 300) reject(new Error(`the transfer failed: ${status}`));
      else if (status >= 200) resolve();
    };
    const onReject = ({ message }) => reject(new Error(`${message.statusCode} ${message.reasonPhrase}`));
    referred.refer(uriOf(target), { onNotify, requestDelegate: { onReject } }).catch(reject);
  });
  if (referred.state === SessionState.Established) await referred.bye();
}

function mute(on) {
  call.muted = on;
  passSound();
}

/** Sends keys of the keypad as RFC 4733 has them. */
function press(keys) {
  if (!session.sessionDescriptionHandler.sendDtmf(keys)) throw new Error("not now");
}

function passSound() {
  session.sessionDescriptionHandler.enableSenderTracks(!call.held && !call.muted);
  session.sessionDescriptionHandler.enableReceiverTracks(!call.held);
  draw();
}

async function message(target, text) {
  await new Promise((resolve, reject) => {
    const onReject = ({ message }) => reject(new Error(`${message.statusCode} ${message.reasonPhrase}`));
    new Messager(userAgent, uriOf(target), text, undefined, { extraHeaders: credentials }).message({ requestDelegate: { onAccept: resolve, onReject } });
  });
  messages.push({ from: account, text, headers: {} });
  draw();
}

/** Extension fields are shown beside the text: they are what a policy adds. */
function onMessage(incoming) {
  const { request } = incoming;
  const extensions = Object.entries(request.headers).filter(([name]) => name.startsWith("X-"));
  const headers = Object.fromEntries(extensions.map(([name, values]) => [name, values[0].raw]));
  messages.push({ from: request.from.uri.user, text: request.body, headers });
  incoming.accept();
  draw();
}

// ---- page -------------------------------------------------------------------------------------------------------------------

function element(id) {
  return document.getElementById(id);
}

function note(text, direction = "note") {
  const entry = { at: new Date(), direction, text };
  log.push(entry);
  if (log.length > LOG_ENTRIES_MAX) log.shift();
  const arrow = { sent: "→", received: "←", note: "·" }[direction];
  const line = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = `${entry.at.toISOString().slice(11, 23)} ${arrow} ${text.split("\r\n")[0]}`;
  const whole = document.createElement("pre");
  whole.textContent = text;
  line.append(summary, whole);
  element("log").prepend(line);
  while (element("log").childElementCount > LOG_ENTRIES_MAX) element("log").lastChild.remove();
}

function describe() {
  const held = call.held ? ", on hold" : call.heldByPeer ? ", held by the other side" : "";
  switch (call.state) {
    case "calling": return `Calling ${call.peer}${call.progress >= 180 ? " – it rings" : " …"}`;
    case "ringing": return `${call.peer} is calling`;
    case "talking": return `In a call with ${call.peer}${held}${call.muted ? ", muted" : ""}`;
    default: return call.ended ? `No call – the last one: ${call.ended}` : "No call";
  }
}

function draw() {
  const registered = isRegistered();
  element("registration").textContent = registered ? "registered" : "offline";
  element("registration").classList.toggle("registered", registered);
  element("state").textContent = describe();
  element("call").disabled = !registered || call.state !== "none";
  element("answer").disabled = call.state !== "ringing";
  element("hangup").disabled = call.state === "none";
  element("hold").disabled = element("mute").disabled = call.state !== "talking";
  element("hold").classList.toggle("on", call.held);
  element("mute").classList.toggle("on", call.muted);
  element("messages").replaceChildren(...messages.map(({ from, text, headers }) => {
    const item = document.createElement("li");
    const extensions = Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join(", ");
    item.textContent = `${from}: ${text}${extensions && `  (${extensions})`}`;
    return item;
  }));
}

function on(id, event, work) {
  element(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    try {
      await work();
    } catch (error) {
      note(`${id}: ${error.message}`);
    }
  });
}

function hearing() {
  const { hz, level } = heard();
  element("level").value = level;
  element("heard").textContent = level > 0.3 ? `${hz} Hz` : "nothing";
}

window.phone = {
  register, unregister, call: dial, answer, hangup, hold, restartIce, mute, press, refer, message, heard, heardAt,
  status: () => ({ account, registered: isRegistered(), call: { ...call } }),
  messages: () => messages,
  log: () => log,
};
window.addEventListener("hashchange", () => location.reload());
on("dial", "submit", () => dial(element("target").value));
on("answer", "click", answer);
on("hangup", "click", hangup);
on("hold", "click", () => hold(!call.held));
on("mute", "click", () => mute(!call.muted));
on("send", "submit", async () => {
  await message(element("target").value, element("text").value);
  element("text").value = "";
});
on("tone", "change", () => (sendTone = element("tone").checked));
document.title = `${account} – hookswitch`;
element("account").textContent = `${account}@${domain}`;
element("target").value = account === "alice" ? "bob" : "alice";
element("tone").checked = sendTone;
setInterval(hearing, 200);
draw();
register().catch((error) => note(`not registered: ${error.message}`));

// Who the page is, by its #hash: #alice, or #alice&domain=example.org&server=wss://host/path&password=secret&tone=440

const [user, ...options] = location.hash.slice(1).split("&");
const setting = new URLSearchParams(options.join("&"));

export const account = user || "alice";
export const domain = setting.get("domain") ?? "hookswitch.local";
export const server = setting.get("server") ?? `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`;
/** For digest (RFC 8760). */
export const password = setting.get("password") ?? undefined;
/** Fields of the requests that begin something: a bearer token (RFC 8898), if there is one. */
export const credentials = setting.has("token") ? [`Authorization: Bearer ${setting.get("token")}`] : [];
export const sendsTone = setting.has("tone");
export const toneHz = Number(setting.get("tone") ?? (account === "alice" ? 440 : 660));

/** A UUID that this tab keeps when the page is loaded again, so that its calls still find it. */
function kept(name) {
  return (sessionStorage[name] ??= crypto.randomUUID());
}

/** This tab (RFC 5626 §4.1). */
export const instance = kept("instance");
/** User and host of the Contact. */
export const contact = { user: kept("contact").slice(0, 8), host: `${kept("host").slice(0, 8)}.invalid` };

/** A user of our domain, a number, or a whole URI. */
export function addressOf(target) {
  return /^[a-z]+:/i.test(target) ? target : `sip:${target}@${domain}`;
}

// Plays an identity provider once: makes a key, writes its public half as a JSON Web Key Set into keys.json, and a token for each user
// into USER.token, all in the folder it is told.
//   node issuer.mjs FOLDER https://idp.example.com/ sip alice bob

import { generateKeyPairSync, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const LIFETIME_S = 3600;

const [folder, iss, aud, ...users] = process.argv.slice(2);
const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const header = { alg: "ES256", typ: "JWT", kid: "one" };
const keys = [{ ...publicKey.export({ format: "jwk" }), kid: header.kid, alg: header.alg, use: "sig" }];
writeFileSync(join(folder, "keys.json"), JSON.stringify({ keys }));

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
for (const sub of users) {
  const exp = Math.floor(Date.now() / 1000) + LIFETIME_S;
  const signed = `${encoded(header)}.${encoded({ iss, aud, sub, exp })}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  writeFileSync(join(folder, `${sub}.token`), `${signed}.${signature.toString("base64url")}`);
}

// Calls to a line ring at its agents while it is open, and at its voicemail when it is not or when nobody answers.
import * as log from 'hookswitch:policy/log@0.1.0';
import * as message from 'hookswitch:policy/message@0.1.0';
import * as source from 'hookswitch:policy/source@0.1.0';
import * as target from 'hookswitch:policy/target@0.1.0';
import * as transaction from 'hookswitch:policy/transaction@0.1.0';

import { minutesUntilOpen, parseHours, parseOffset } from './hours.js';

// The transaction's attribute that tells the response hook when the line opens, in seconds.
const OPENS_IN = 'opening-hours.opens-in-s';
// Where RFC 3261 §20.33 lets Retry-After stand.
const RETRY_LATER = [404, 413, 480, 486, 500, 503, 600, 603];

// An instance serves many messages; what `configure` made is all that it keeps.
let config;

export const lifecycle = {
  // What it throws the operator reads: the version before goes on.
  configure(json) {
    try {
      config = parse(JSON.parse(json));
    } catch (error) {
      throw error.message;
    }
  },
};

export const requestHook = {
  onRequest(request) {
    if (request.method !== 'INVITE' || request.inDialog || !config.lines.includes(userOf(request.requestUri))) {
      return { tag: 'next' };
    }
    const minutes = minutesUntilOpen(config.spans, new Date(), config.zone);
    if (minutes === 0) {
      target.addUpstream(config.agents, 0);
      target.setTimeoutsMs(0, 0, config.ringSeconds * 1000);
      target.addUpstream(config.voicemail, 1);
    } else {
      target.addUpstream(config.voicemail, 0);
      transaction.setAttribute(OPENS_IN, String(minutes * 60));
      log.write('info', `${request.requestUri} is closed: ${request.fromUri} (${source.peer()}) goes to ${config.voicemail}`);
    }
    return { tag: 'forward' };
  },
};

export const responseHook = {
  // Voicemail failed as well: say when to try again.
  onResponse(request, status) {
    const seconds = Number(transaction.attribute(OPENS_IN) ?? Infinity);
    if (RETRY_LATER.includes(status) && Number.isFinite(seconds)) {
      message.setHeader('Retry-After', String(seconds));
    }
    return { tag: 'pass' };
  },
};

function parse({ lines, open, utc_offset = '+00:00', summer_time = 'none', agents, voicemail, ring_s = 20 }) {
  if (!Array.isArray(lines)) throw new Error('lines must list the users or numbers that have opening hours');
  if (typeof open !== 'object') throw new Error('open must map days to times');
  if (!['none', 'eu'].includes(summer_time)) throw new Error(`summer_time is none or eu, not ${summer_time}`);
  for (const name of [agents, voicemail]) {
    if (!target.upstreams().includes(name)) throw new Error(`there is no upstream ${name}`);
  }
  const zone = { offset: parseOffset(utc_offset), summerTime: summer_time };
  return { lines, spans: parseHours(open), zone, agents, voicemail, ringSeconds: ring_s };
}

// `support` of sip:support@example.com;user=phone
function userOf(uri) {
  return /^sips?:([^@;:]+)[^@]*@/.exec(uri)?.[1];
}

// Says on every request where it came from, and answers a MESSAGE to "echo" itself.
import * as message from 'hookswitch:policy/message@0.1.0';

export const lifecycle = {
  // Returns nothing if the configuration is good; throws the reason if it is not.
  configure(json) {
    if (json.trim() !== '') JSON.parse(json);
  },
};

export const requestHook = {
  onRequest(request) {
    message.setHeader('X-Came-From', request.side);
    if (request.method === 'MESSAGE' && request.toUri.startsWith('sip:echo@')) {
      return { tag: 'reply', val: { status: 200, reason: undefined, headers: [], body: message.body() } };
    }
    return { tag: 'next' };
  },
};

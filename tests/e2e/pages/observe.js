// For every page: what its connections say of what they receive.

(() => {
  const connections = [];

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...settings) {
      super(...settings);
      connections.push(this);
    }
  };

  /** `connections`: how many there were. The rest is of the newest one: packets `lost`, and of the samples played how many were `concealed`. */
  window.received = async () => {
    const newest = connections.at(-1);
    const stats = newest ? [...(await newest.getStats()).values()] : [];
    const streams = stats.filter(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
    const sum = (name) => streams.reduce((total, stream) => total + (stream[name] ?? 0), 0);
    return {
      connections: connections.length,
      lost: sum("packetsLost"), all: sum("totalSamplesReceived"), concealed: sum("concealedSamples"),
    };
  };
})();

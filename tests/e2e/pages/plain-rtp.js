// For a page that is to talk with a phone which knows no WebRTC, as long as hookswitch leaves session descriptions alone: what leaves
// the page says plain RTP, and what comes is taken for WebRTC's. Signalling is whole; nobody hears anything.

(() => {
  const FINGERPRINT = Array(32).fill("AB").join(":");
  const WEBRTC_ALONE = /^a=(group|extmap|msid|ice|candidate|fingerprint|setup|mid|rtcp|ssrc|end-of-candidates).*\r\n/gm;

  const toPlain = (sdp) => sdp
    .replace(WEBRTC_ALONE, "")
    .replace(/^m=audio \d+ UDP\/TLS\/RTP\/SAVPF/m, "m=audio 4000 RTP/AVP")
    .replace(/^c=.*$/m, "c=IN IP4 127.0.0.1");

  const toWebRtc = (sdp, setup) => sdp
    .replace(/^a=rtcp:.*\r\n/gm, "")
    .replace(/^m=audio \d+ RTP\/AVP/m, "m=audio 9 UDP/TLS/RTP/SAVPF")
    .concat(`a=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:phone\r\na=ice-pwd:passwordpasswordpassword\r\n`)
    .concat(`a=fingerprint:sha-256 ${FINGERPRINT}\r\na=setup:${setup}\r\n`);

  const needed = (description) => /^m=audio \d+ RTP\/AVP/m.test(description.sdp);

  window.RTCPeerConnection = class extends RTCPeerConnection {
    get localDescription() {
      const description = super.localDescription;
      return description && new RTCSessionDescription({ type: description.type, sdp: toPlain(description.sdp) });
    }
    setRemoteDescription(description) {
      if (!needed(description)) return super.setRemoteDescription(description);
      const sdp = toWebRtc(description.sdp, description.type === "offer" ? "actpass" : "active");
      return super.setRemoteDescription({ type: description.type, sdp });
    }
  };
})();

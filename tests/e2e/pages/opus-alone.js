// For a page that is to know no other codec than Opus. Preferences alone do not do: Chromium sends whatever an offer begins with.

(() => {
  const KNOWN = ["opus", "telephone-event"];
  const { addTrack, setRemoteDescription } = RTCPeerConnection.prototype;
  const { codecs } = RTCRtpReceiver.getCapabilities("audio");
  const known = codecs.filter(({ mimeType }) => KNOWN.includes(mimeType.replace("audio/", "")));

  RTCPeerConnection.prototype.addTrack = function (...tracks) {
    const sender = addTrack.apply(this, tracks);
    this.getTransceivers().forEach((transceiver) => transceiver.setCodecPreferences(known));
    return sender;
  };

  /** A session description with one section, as somebody reads it who does not know the others. */
  const asKnown = (sdp) => {
    const formats = [...sdp.matchAll(/^a=rtpmap:(\d+) ([^/]+)/gm)].filter(([, , name]) => KNOWN.includes(name)).map(([, format]) => format);
    return sdp
      .replace(/^a=(?:rtpmap|fmtp|rtcp-fb):(\d+) .*\r\n/gm, (line, format) => (formats.includes(format) ? line : ""))
      .replace(/^(m=audio \d+ \S+).*/m, (_, start) => [start, ...formats].join(" "));
  };

  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
    return setRemoteDescription.call(this, { type, sdp: asKnown(sdp) });
  };
})();

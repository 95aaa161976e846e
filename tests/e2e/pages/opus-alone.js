// For a page that is to know no other codec than Opus.

(() => {
  const { addTrack } = RTCPeerConnection.prototype;
  const { codecs } = RTCRtpReceiver.getCapabilities("audio");
  const opus = codecs.filter(({ mimeType }) => ["audio/opus", "audio/telephone-event"].includes(mimeType));

  RTCPeerConnection.prototype.addTrack = function (...tracks) {
    const sender = addTrack.apply(this, tracks);
    this.getTransceivers().forEach((transceiver) => transceiver.setCodecPreferences(opus));
    return sender;
  };
})();

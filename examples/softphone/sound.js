// What a page sends when it is to send a tone, and what it hears.

const audio = new AudioContext();
let analyser = null;

/** A stream with a sine of this frequency. */
export async function tone(hz) {
  await audio.resume();
  const oscillator = new OscillatorNode(audio, { frequency: hz });
  const volume = new GainNode(audio, { gain: 0.3 });
  const destination = new MediaStreamAudioDestinationNode(audio);
  oscillator.connect(volume).connect(destination);
  oscillator.start();
  return destination.stream;
}

/** Hears this stream from now on, in `<audio id="remote">` and by numbers; null for none. */
export function listen(stream) {
  document.getElementById("remote").srcObject = stream;
  analyser = stream && new AnalyserNode(audio, { fftSize: 4096 });
  if (!stream) return;
  new MediaStreamAudioSourceNode(audio, { mediaStream: stream }).connect(analyser);
  audio.resume();
}

/** The loudest frequency in what is received, and how loud it is from 0 to 1. */
export function heard() {
  if (!analyser) return { hz: 0, level: 0 };
  const bins = new Uint8Array(analyser.frequencyBinCount);
  analyser.getByteFrequencyData(bins);
  const loudest = bins.reduce((best, value, index) => (value > bins[best] ? index : best), 0);
  return { hz: Math.round((loudest * audio.sampleRate) / analyser.fftSize), level: bins[loudest] / 255 };
}

/** How loud this frequency is in what is received, from 0 to 1. */
export function heardAt(hz) {
  if (!analyser) return 0;
  const bins = new Uint8Array(analyser.frequencyBinCount);
  analyser.getByteFrequencyData(bins);
  return bins[Math.round((hz * analyser.fftSize) / audio.sampleRate)] / 255;
}

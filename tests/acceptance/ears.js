// Listens to what the page plays through its <audio id="ear">, until these tones and nothing louder are there.
({ tones, withinMs }) => (async () => {
  const FILLED_MS = 800, SILENCE_DB = -70, TONE_DB = -60, TOLERANCE_HZ = 8;
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 32768, smoothingTimeConstant: 0 });
  const bins = new Float32Array(analyser.frequencyBinCount), width = context.sampleRate / analyser.fftSize;
  const loudest = (from, to) => {
    let peak = from;
    for (let bin = from; bin < to; bin++) if (bins[bin] > bins[peak]) peak = bin;
    return peak;
  };
  const near = (hz) => loudest(Math.floor((hz - TOLERANCE_HZ) / width), Math.ceil((hz + TOLERANCE_HZ) / width));
  const due = Date.now() + withinMs;
  let stream = null, source = null, since = 0, peak = 0, found = false;
  while (!found && Date.now() < due) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = document.getElementById("ear").srcObject;
    if (!now) continue;
    if (now !== stream) {
      source?.disconnect();
      [stream, source, since] = [now, context.createMediaStreamSource(now), Date.now()];
      source.connect(analyser);
    }
    if (Date.now() - since < FILLED_MS) continue;
    analyser.getFloatFrequencyData(bins);
    peak = loudest(Math.ceil(100 / width), bins.length);
    if (tones.length) found = tones.every((hz) => bins[near(hz)] > TONE_DB) && tones.some((hz) => near(hz) === peak);
    else found = bins[peak] < SILENCE_DB;
  }
  await context.close();
  return { found, peakHz: peak * width, peakDb: bins[peak] };
})()

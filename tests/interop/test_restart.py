"""An ICE restart offered by Chromium, whose answer from us it takes and keeps talking by."""

import re

from tests.browser import browser_page
from tests.integration.test_leg import OURS_HZ, converse, dominant_hz, until
from workers.media.leg import Leg

THEIRS_HZ = 440

PEER = """
window.pc = new RTCPeerConnection()
window.sound = new AudioContext()
const [note, out] = [sound.createOscillator(), sound.createMediaStreamDestination()]
note.frequency.value = 440
note.connect(out); note.start()
window.ears = sound.createAnalyser(); ears.fftSize = 8192
pc.ontrack = ({streams: [stream], track}) => {
  const player = new Audio(); player.muted = true; player.srcObject = new MediaStream([track]); player.play()
  sound.createMediaStreamSource(new MediaStream([track])).connect(ears)
}
window.gathered = () => new Promise(done => {
  const check = () => pc.iceGatheringState == 'complete' && done(pc.localDescription.sdp)
  pc.addEventListener('icegatheringstatechange', check); check()
})
window.answer = async offer => {
  await pc.setRemoteDescription({type: 'offer', sdp: offer})
  pc.addTrack(out.stream.getTracks()[0], out.stream)
  await pc.setLocalDescription(await pc.createAnswer())
  return await gathered()
}
window.restart = async () => {
  pc.addTransceiver('video'); pc.createDataChannel('more')
  await pc.setLocalDescription(await pc.createOffer({iceRestart: true}))
  return await gathered()
}
window.accept = answer => pc.setRemoteDescription({type: 'answer', sdp: answer})
window.loudest = () => {
  const bins = new Float32Array(ears.frequencyBinCount); ears.getFloatFrequencyData(bins)
  return bins.indexOf(Math.max(...bins)) * sound.sampleRate / ears.fftSize
}
"""


async def test_chromium_takes_our_answer_to_its_restart_and_both_still_hear_each_other() -> None:
    leg = Leg()
    async with browser_page() as page:
        await page.evaluate(PEER)
        answer = await page.evaluate("offer => answer(offer)", await leg.offer())
        await leg.apply(answer, None)
        await leg.connected()
        await converse(leg, 50)
        for _ in range(2):
            before = leg._peer.path._current
            ours = await leg.renegotiate(await page.evaluate("restart()"))
            live = {kind: port != "0" for kind, port in re.findall(r"m=(\w+) (\d+) ", ours)}
            assert live == {"audio": True, "video": False, "application": False}
            await page.evaluate("answer => accept(answer)", ours)
            await until(lambda before=before: leg._peer.path._current is not before)
            heard = await converse(leg, 100)
            assert abs(dominant_hz(heard[-48_000:]) - THEIRS_HZ) <= 20
            assert await page.evaluate("pc.connectionState") == "connected"
            assert await page.evaluate("pc.signalingState") == "stable"
            await converse(leg, 25)
            assert abs(await page.evaluate("loudest()") - OURS_HZ) <= 20
    await leg.close()

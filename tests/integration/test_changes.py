"""What a handler wants of a call's media, and what becomes of it: a real leg, and the machine's orders one by one."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCSessionDescription

from shared.calls import facts, orders, state
from shared.video import MediaRefused, Showing
from tests.integration.test_leg import OURS, Far, call, ticks, until
from tests.integration.test_video import Camcorder
from workers.media.changes import AGAIN_AFTER_S, Changes
from workers.media.leg import Leg
from workers.media.live_call import IDLE_TICKS, LiveCall


class Stage:
    """Changes of one leg, and what they said."""

    def __init__(self, leg: Leg, far: Far, *, post_answers: bool = False) -> None:
        self.leg, self.far = leg, far
        self.said: list[facts.Fact] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.changes = Changes(lambda: leg, self.said.append, self._spawn, post_answers=post_answers)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def perform(self, order: orders.Order, version: int = 1) -> None:
        self.changes.perform(order, state.Call(media_version=version), None)

    def want(self, *, muted: bool | None = None, showing: Showing | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self.changes.change(self.leg, muted=muted, showing=showing))

    async def offer(self, count: int = 1) -> facts.MediaOffered:
        """Wait for so many offers, and return the last."""
        await until(lambda: len(self.said) >= count)
        (*_, last) = self.said
        assert isinstance(last, facts.MediaOffered)
        assert len(self.said) == count
        return last

    async def take(self, offer: facts.MediaOffered) -> None:
        """Let Meta take it."""
        answer = None
        if offer.sdp is not None:
            await self.far.pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            await self.far.pc.setLocalDescription(await self.far.pc.createAnswer())
            answer = self.far.pc.localDescription.sdp
        self.perform(orders.ApplyChange(answer, None))


@asynccontextmanager
async def stage(**options: bool) -> AsyncIterator[Stage]:
    far = Camcorder(hz=None)
    async with call(far, renegotiated=False) as (leg, _):
        yield Stage(leg, far, **options)


@pytest.mark.meta("6.2-known-track")
async def test_video_is_offered_once_and_then_switched() -> None:
    async with stage() as on:
        wanted = on.want(showing="camera")
        first = await on.offer()
        assert first.sdp is not None
        assert first.tracks == (
            (on.leg.audio_track, "default_audio", "enabled"),
            (on.leg.video_track, "default_video", "enabled"),
        )
        assert all(f" {msid}\r\n" in first.sdp for msid, *_ in first.tracks)
        assert on.leg.video.codec is None, "nothing has changed yet"
        await on.take(first)
        await wanted
        assert on.leg.video.codec == "vp8"

        wanted = on.want(showing="nothing")
        off = await on.offer(2)
        assert on.leg.video.codec is None, "it is off at once"
        assert (off.sdp, off.tracks[1]) == (None, (on.leg.video_track, "default_video", "disabled"))
        await on.take(off)
        await wanted

        wanted = on.want(showing="camera")
        again = await on.offer(3)
        assert (again.sdp, again.tracks) == (None, first.tracks)
        await on.take(again)
        await wanted
        assert on.leg.video.codec == "vp8"


@pytest.mark.meta("6.2-label", "6.2-tracks", "6.4-screen")
async def test_a_screen_is_another_track() -> None:
    async with stage() as on:
        wanted = on.want(showing="camera")
        camera = await on.offer()
        await on.take(camera)
        await wanted
        wanted = on.want(showing="screen")
        screen = await on.offer(2)
        assert screen.sdp is not None
        assert screen.tracks[1][1:] == ("screen_video", "enabled")
        assert screen.tracks[1][0] != camera.tracks[1][0]
        assert screen.sdp.count("m=video") == 1, "one track of video at a time"
        await on.take(screen)
        await wanted


@pytest.mark.meta("6.2-invalid-id")
async def test_what_is_refused_leaves_everything_as_it_was_and_may_be_wanted_again() -> None:
    async with stage() as on:
        wanted = on.want(showing="camera")
        await on.offer()
        on.perform(orders.RefuseChange("invalid track msid", 100))
        with pytest.raises(MediaRefused, match="invalid track msid") as refused:
            await wanted
        assert refused.value.code == 100
        assert on.leg.live
        assert on.leg.video.codec is None
        wanted = on.want(showing="camera")
        offer = await on.offer(2)
        assert offer.sdp is not None
        await on.take(offer)
        await wanted


@pytest.mark.meta("6.3-again")
async def test_after_a_conflict_it_is_offered_anew_with_what_meta_has_changed_meanwhile() -> None:
    async with stage() as on:
        wanted = on.want(showing="camera")
        first = await on.offer()
        began_s = asyncio.get_running_loop().time()
        on.perform(orders.ApplyOffer(on.far.renegotiation(on.far.answer_again())))
        on.perform(orders.ChangeAgain())
        second = await on.offer(2)
        assert asyncio.get_running_loop().time() - began_s >= AGAIN_AFTER_S[0]
        assert first.sdp is not None
        assert second.sdp is not None
        assert (first.sdp.count("m=audio"), second.sdp.count("m=audio")) == (1, 2)
        assert (first.heard, second.heard) == (-1, 1)
        assert not wanted.done()
        on.perform(orders.RefuseChange("four times"))
        with pytest.raises(MediaRefused):
            await wanted


async def test_there_is_one_change_at_a_time_whoever_waits_for_it() -> None:
    async with stage() as on:
        first, second = on.want(showing="camera"), on.want(muted=True)
        offer = await on.offer()
        first.cancel()  # by a timeout of the handler's, say
        await on.take(offer)
        muting = await on.offer(2)
        assert muting.tracks == (
            (on.leg.audio_track, "default_audio", "disabled"),
            (on.leg.video_track, "default_video", "enabled"),
        )
        await on.take(muting)
        await second
        await on.changes.change(on.leg, muted=True, showing="camera")
        assert len(on.said) == 2, "what is so already is asked of nobody"


async def test_who_is_muted_sends_comfort_and_nothing_else_from_that_moment_on() -> None:
    async with stage() as on:
        live = LiveCall(on.leg)
        speaking = asyncio.create_task(live.play(OURS))
        async for _ in ticks(10):
            live.speak()
        before = on.leg.packets_sent
        assert before >= 10
        wanted = on.want(muted=True)
        await on.offer()
        async for _ in ticks(2 * IDLE_TICKS + 5):
            live.speak()
        assert 1 <= on.leg.packets_sent - before <= 3
        on.perform(orders.RefuseChange("no"))
        with pytest.raises(MediaRefused):
            await wanted
        assert on.leg.muted, "Meta does not know it, but nothing is heard all the same"
        await on.changes.change(on.leg, muted=False, showing=None)
        before = on.leg.packets_sent
        async for _ in ticks(10):
            live.speak()
        assert on.leg.packets_sent - before >= 10
        assert len(on.said) == 1, "Meta never heard of the mute"
        speaking.cancel()


@pytest.mark.meta("3.3-answer")
@pytest.mark.parametrize("post_answers", [False, True])
async def test_our_answer_to_an_offer_of_metas_is_said_where_it_is_to_be_posted(post_answers: bool) -> None:
    async with stage(post_answers=post_answers) as on:
        offer = on.far.renegotiation(on.far.answer_again())
        on.perform(orders.ApplyOffer(offer), version=7)
        if not post_answers:
            await until(lambda: len(on.leg._places) == 2)
            assert on.said == []
            return
        await until(lambda: bool(on.said))
        (answer,) = on.said
        assert isinstance(answer, facts.MediaAnswerMade)
        assert answer.version == 7
        assert answer.sdp.count("m=audio") == 2

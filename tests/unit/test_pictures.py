"""Pictures for a handler: decoded when it wants them, in order, and never from what is missing."""

import asyncio

import av
import numpy as np
import pytest

from shared.video import Image, Seeing
from tests.unit.test_video import Wire
from workers.media.host import Host
from workers.media.pictures import BACKLOG, PICTURES_WAITING, SAME_RATE_S, Camera, Viewer, _encoder
from workers.media.video import Video
from workers.media.video_in import Encoded, is_key
from workers.media.video_sdp import VideoTerms

WIDTH, HEIGHT = 64, 48


def grey(level: int) -> Image:
    return Image(WIDTH, HEIGHT, bytes([level]) * (WIDTH * HEIGHT) + b"\x80" * (WIDTH * HEIGHT // 2))


def encoded(codec: str, count: int, keys: tuple[int, ...] = (0,)) -> list[Encoded]:
    encoder = _encoder(codec, WIDTH, HEIGHT, 500_000)
    pictures = []
    for number in range(count):
        frame = grey(40 + number * 4 % 160).frame()
        frame.pts = number * 3600
        if number in keys:
            frame.pict_type = av.video.frame.PictureType.I
        data = b"".join(bytes(packet) for packet in encoder.encode(frame))
        pictures.append(Encoded(codec, is_key(codec, data), number * 3600, data))
    return pictures


def level(image: Image | None) -> int:
    assert image is not None
    return round(float(np.frombuffer(image.i420[: WIDTH * HEIGHT], np.uint8).mean()))


class Asked:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_every_picture_or_only_some_can_be_decoded_in_order(codec: str) -> None:
    viewer, pictures = Viewer(Asked()), encoded(codec, 20)
    for picture in pictures:
        viewer.put(picture)
    for number in range(20):
        picture = await viewer.take()
        assert (picture.codec, picture.key) == (codec, number == 0)
        if number % 3 == 0:
            assert abs(level(await picture.decode()) - (40 + number * 4)) <= 3


async def test_a_picture_that_was_passed_over_is_not_decoded_after_later_ones() -> None:
    viewer = Viewer(Asked())
    for one in encoded("vp8", 4):
        viewer.put(one)
    first, second, third, _ = [await viewer.take() for _ in range(4)]
    assert await third.decode() is not None
    assert await second.decode() is None
    assert first.key


async def test_without_a_key_picture_one_is_asked_for_and_then_it_goes_on() -> None:
    asked = Asked()
    viewer, pictures = Viewer(asked), encoded("vp8", 8, keys=(0, 5))
    assert pictures[5].key
    viewer.put(pictures[3])
    assert await (await viewer.take()).decode() is None
    assert asked.times == 1
    viewer.put(pictures[5])
    viewer.put(pictures[6])
    await viewer.take()
    assert abs(level(await (await viewer.take()).decode()) - 64) <= 3


async def test_damaged_pictures_are_no_error_of_the_handlers() -> None:
    asked = Asked()
    viewer, pictures = Viewer(asked), encoded("h264", 2)
    viewer.put(pictures[0]._replace(data=pictures[0].data[:20] + b"\xff" * 30))
    assert await (await viewer.take()).decode() is None
    assert asked.times == 1


async def test_a_picture_larger_than_any_camera_s_is_not_decoded() -> None:
    frame = av.VideoFrame(4096, 2160, "yuv420p")
    frame.pts = 0
    data = b"".join(bytes(packet) for packet in _encoder("vp8", 4096, 2160, 500_000).encode(frame))
    viewer = Viewer(Asked())
    viewer.put(Encoded("vp8", True, 0, data))
    assert await (await viewer.take()).decode() is None


async def test_a_slow_handler_costs_a_bounded_memory() -> None:
    viewer, pictures = Viewer(Asked()), encoded("vp8", 2)
    for _ in range(2 * BACKLOG):
        viewer.put(pictures[0])
        viewer.put(pictures[1])
    assert len(viewer._backlog) <= BACKLOG
    for _ in range(PICTURES_WAITING):
        await viewer.take()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await viewer.take()


def test_an_image_is_rgb_and_back() -> None:
    rgb = bytes([200, 30, 30]) * (WIDTH * HEIGHT)
    image = Image.of_rgb(WIDTH, HEIGHT, rgb)
    assert len(image.i420) == WIDTH * HEIGHT * 3 // 2
    back = np.frombuffer(image.rgb(), np.uint8).reshape(-1, 3).mean(0)
    assert np.abs(back - [200, 30, 30]).max() < 6


@pytest.mark.parametrize(
    "image",
    [
        Image(3, 2, b"x" * 9),
        Image(2, 3, b"x" * 9),
        Image(0, 0, b""),
        Image(4, 4, b"x" * 23),
        Image(4096, 4096, b"x" * (4096 * 4096 * 3 // 2)),
    ],
    ids=lambda image: f"{image.width}x{image.height}",
)
def test_what_is_no_picture_is_refused_where_it_is_shown(image: Image) -> None:
    with pytest.raises(ValueError, match="no I420 picture"):
        Seeing().show(image)


async def test_the_bit_rate_follows_what_the_peer_bears_but_not_with_every_word_of_it() -> None:
    loop = asyncio.get_running_loop()
    video = Video(Wire())
    video.agree(VideoTerms(sending={"vp8": 96}))
    camera = Camera(video, Host(loop, loop))
    first = camera._encoded(grey(50), "vp8", 1_000_000, False)
    assert is_key("vp8", first)
    assert not is_key("vp8", camera._encoded(grey(60), "vp8", 300_000, False)), "too soon for another encoder"
    camera._made_s -= SAME_RATE_S
    assert is_key("vp8", camera._encoded(grey(70), "vp8", 300_000, False))
    assert camera._encoder is not None
    assert camera._encoder.bit_rate == 300_000
    assert is_key("vp8", camera._encoded(grey(70), "vp8", 300_000, True)), "when it is asked for"
    assert not is_key("vp8", camera._encoded(grey(70), "vp8", 310_000, False))

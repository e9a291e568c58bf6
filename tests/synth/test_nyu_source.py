"""NYU Depth v2's labelled file: axes, rooms, one picture at a time, and what is refused."""

import io
import subprocess
import sys

import numpy as np
import pytest

from synth.sources.nyu import NyuFile

h5py = pytest.importorskip("h5py")

HEIGHT, WIDTH, COUNT = 12, 20, 5
ROOMS = ["kitchen_0004", "kitchen_0004", "office_0003", "den_0001", "office_0003"]
RNG = np.random.default_rng(0)
# As MATLAB has them: H x W x 3 x N and H x W x N.
IMAGES = RNG.integers(0, 256, (HEIGHT, WIDTH, 3, COUNT), dtype=np.uint8)
DEPTHS_M = RNG.uniform(0.7, 10.0, (HEIGHT, WIDTH, COUNT)).astype(np.float32)


def in_hdf5_order(array):
    """MATLAB writes its memory, column by column, under the axes in reverse."""
    return np.frombuffer(array.tobytes(order="F"), array.dtype).reshape(array.shape[::-1])


@pytest.fixture
def nyu_file(tmp_path):
    """A maker of files in the form of the published one; None leaves an array out."""

    def make(images=IMAGES, depths=DEPTHS_M, rooms=ROOMS, chunks=None):
        path = tmp_path / "labelled.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            for key, array in (("images", images), ("depths", depths), ("rawDepths", depths)):
                if array is not None:
                    stored = in_hdf5_order(array)
                    layout = {"chunks": (1, *stored.shape[1:]), "compression": 3} if chunks else {}
                    file.create_dataset(key, data=stored, **layout)
            if rooms is not None:
                cells = file.create_dataset("scenes", (1, len(rooms)), dtype=h5py.ref_dtype)
                for number, room in enumerate(rooms):
                    if room is not None:
                        letters = np.array([[ord(letter)] for letter in room], np.uint16)
                        if not room:  # how MATLAB stores an empty array: its size
                            letters = np.zeros(2, np.uint64)
                        name = f"#refs#/{number}"
                        file[name] = letters
                        cells[0, number] = file[name].ref
        data = bytearray(path.read_bytes())
        data[:19] = b"MATLAB 7.3 MAT-file"
        return io.BytesIO(bytes(data))

    return make


@pytest.mark.parametrize("chunks", [False, True])
def test_pictures_are_what_matlab_holds(nyu_file, chunks):
    with NyuFile(nyu_file(chunks=chunks)) as nyu:
        assert len(nyu) == COUNT
        for number in range(1, COUNT + 1):
            scene = nyu.read(number)
            assert scene.scene_id == f"nyu-{ROOMS[number - 1]}"
            np.testing.assert_array_equal(np.rint(scene.image * 255), IMAGES[..., number - 1])
            np.testing.assert_array_equal(scene.depth_m, DEPTHS_M[..., number - 1])


def test_a_picture_and_its_checksum_are_read_once(nyu_file):
    class Counting(io.BytesIO):
        taken = 0

        def readinto(self, buffer):
            self.taken += len(buffer)
            return super().readinto(buffer)

    file = Counting(nyu_file().getvalue())
    with NyuFile(file) as nyu:
        assert nyu.scene_id(2) == nyu.scene_id(1)
        before = file.taken
        digest = nyu.sha256(1)
        once = file.taken - before
        assert once >= IMAGES[..., 0].nbytes + DEPTHS_M[..., 0].nbytes
        nyu.read(1)
        assert file.taken - before < 2 * once
        assert nyu.sha256(2) != digest
        assert nyu.sha256(1) == digest


def test_pictures_of_one_room_have_one_scene(nyu_file):
    with NyuFile(nyu_file()) as nyu:
        assert [nyu.scene_id(n) for n in range(1, COUNT + 1)] == [f"nyu-{r}" for r in ROOMS]


def test_pictures_are_fitted(nyu_file):
    with NyuFile(nyu_file()) as nyu:
        scene = nyu.read(2, size=(6, 10), rng=np.random.default_rng(0))
    assert scene.image.shape == (6, 10, 3)
    assert scene.depth_m.shape == (6, 10)


class Counted(io.BytesIO):
    """Counts the bytes that are read from it."""

    count = 0

    def readinto(self, buffer):
        read = super().readinto(buffer)
        self.count += read
        return read

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("chunks", [False, True])
def test_only_the_picture_asked_for_is_read(nyu_file, chunks):
    one_picture = 64 * 96 * (3 + 4)
    images = RNG.integers(0, 256, (64, 96, 3, 40), dtype=np.uint8)
    depths = RNG.uniform(0.7, 10.0, (64, 96, 40)).astype(np.float32)
    file = Counted(nyu_file(images, depths, ["room"] * 40, chunks=chunks).getvalue())
    with NyuFile(file) as nyu:
        opened = file.count
        assert opened < one_picture
        nyu.read(23)
        assert file.count - opened < 2 * one_picture
    assert not file.closed


def hole(value, columns):
    """Depth of the second picture unknown or bad in its leftmost columns."""
    depths = DEPTHS_M.copy()
    depths[:, :columns, 1] = value
    return depths


def test_a_few_holes_are_filled(nyu_file):
    depths = DEPTHS_M.copy()
    depths[3:9, 7, 1] = 0.0
    with NyuFile(nyu_file(depths=depths)) as nyu:
        assert nyu.read(2).depth_m.min() >= 0.7


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"depths": hole(np.nan, 4)}, "NYU image 2: 20.0% of the depth is unknown"),
        ({"depths": hole(np.inf, 1)}, "NYU image 2: depth holds infinite"),
        ({"depths": hole(-1.0, 1)}, "NYU image 2: depth holds infinite or negative"),
        ({"rooms": ["a", None, "b", "c", "d"]}, "NYU image 2: it has no scene"),
        ({"rooms": ["a", "", "b", "c", "d"]}, "NYU image 2: its scene's name is empty"),
        ({"rooms": ["a", "\0\0", "b", "c", "d"]}, "NYU image 2: its scene's name is empty"),
        ({"rooms": ["a"]}, r"'scenes' should be \(1, 5\) references"),
        ({"rooms": None}, "has no array 'scenes'"),
        ({"images": None}, "has no array 'images'"),
        ({"depths": None}, "has no array 'depths'"),
        ({"depths": DEPTHS_M[..., :4]}, r"'depths' should be \(5, 20, 12\) floats .* \(4, 20, 12"),
        ({"depths": DEPTHS_M.astype(np.uint16)}, "'depths' should be .* uint16"),
        ({"images": IMAGES.transpose(3, 2, 1, 0)}, r"'images' should be \(N, 3, W, H\)"),
        ({"images": IMAGES.astype(np.uint16)}, "'images' should be .* uint16"),
    ],
)
def test_what_is_no_scene_is_refused_with_its_reason(nyu_file, arrays, message):
    with pytest.raises(ValueError, match=message) as refused, NyuFile(nyu_file(**arrays)) as nyu:
        nyu.read(2)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("number", [-1, 0, 6])
def test_numbers_that_are_not_there_are_refused(nyu_file, number):
    with NyuFile(nyu_file()) as nyu, pytest.raises(ValueError, match="has images 1 to 5"):
        nyu.read(number)


@pytest.mark.parametrize("keep", [0, 100, 700, 3000, -200])
def test_files_that_are_cut_off_are_refused(nyu_file, keep):
    with pytest.raises(ValueError, match="not a readable HDF5") as refused:
        NyuFile(io.BytesIO(nyu_file().getvalue()[:keep]))
    assert len(str(refused.value).splitlines()) == 1


def test_damaged_pictures_are_refused(nyu_file):
    data = nyu_file(chunks=True).getvalue()
    with h5py.File(io.BytesIO(data), "r") as file:
        _, stored = file["images"].id.read_direct_chunk((2, 0, 0, 0))
    data = data.replace(stored, bytes(len(stored)))
    with (
        NyuFile(io.BytesIO(data)) as nyu,
        pytest.raises(ValueError, match="NYU image 3: it cannot be read"),
    ):
        nyu.read(3)


def test_faults_of_the_storage_are_not_the_file_s(nyu_file):
    class Away(io.BytesIO):
        def readinto(self, buffer):
            raise TimeoutError("storage is away")

    with pytest.raises(TimeoutError, match="storage is away"):
        NyuFile(Away(nyu_file().getvalue()))


def test_a_file_left_open_does_not_crash_the_program_that_ends(nyu_file, tmp_path):
    (tmp_path / "left_open.mat").write_bytes(nyu_file().getvalue())
    script = (
        "import io, sys\n"
        "from synth.sources.nyu import NyuFile\n"
        "class Remote(io.BytesIO):\n"
        "    def readinto(self, buffer):\n"
        "        return super().readinto(buffer)\n"
        "remote = Remote(open(sys.argv[1], 'rb').read())\n"
        "nyu = NyuFile(remote)\n"
        "print(nyu.scene_id(1))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "left_open.mat")],
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (0, "nyu-kitchen_0004\n")


def test_the_rooms_of_a_file_are_read_in_few_bytes(nyu_file):
    """References to all rooms once, not once a room."""
    count = 200
    images = np.zeros((2, 2, 3, count), np.uint8)
    depths = np.ones((2, 2, count), np.float32)
    file = Counted(nyu_file(images, depths, ["room"] * count).getvalue())
    with NyuFile(file) as nyu:
        assert {nyu.scene_id(number) for number in range(1, count + 1)} == {"nyu-room"}
    assert file.count < 4 * len(file.getvalue())


def test_without_h5py_it_says_what_to_install(monkeypatch, nyu_file):
    file = nyu_file()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'k3dn\[synth\]'"):
        NyuFile(file)

"""The nursery: whatever a job does, the caller gets a result or a coded error, and the next job runs."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tsp.core.errors import Invalid, Refused
from tsp.core.isolated import Isolated, IsolationLimits

SAMPLES = "tests.core.isolated_samples"


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    made = Isolated(IsolationLimits(seconds=2, memory=1024**3), modules=(SAMPLES,))
    yield made
    made.close()


@pytest.mark.requirement("SIG-5")
def test_values_and_files_come_back(isolated: Isolated) -> None:
    files = {"a.pdf": bytes(range(256)) * 12_000, "empty": b""}
    assert isolated.run(f"{SAMPLES}:echo", {"n": 1, "š": "č"}, files) == ({"n": 1, "š": "č"}, files)


def test_child_sees_no_environment_and_no_files_of_ours(isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSP_CONFIG", "/somewhere")
    result, _ = isolated.run(f"{SAMPLES}:surroundings", {})
    assert set(result["environment"]) <= {"PYTHONPATH", "PATH", "LANG", "HOME", "LC_CTYPE"}
    assert result["files"] == []


def test_errors_of_the_house_come_through(isolated: Isolated) -> None:
    with pytest.raises(Refused, match="sample-refused") as caught:
        isolated.run(f"{SAMPLES}:refuse", {"kind": "refused"})
    assert caught.value.facts == {"count": 3}
    with pytest.raises(Invalid, match="sample-invalid"):
        isolated.run(f"{SAMPLES}:refuse", {"kind": "invalid"})


@pytest.mark.parametrize("name", ["loop", "trickle", "hoard", "crash", "fail", "_hidden", "unknown"])
def test_every_bad_end_is_one_coded_error(isolated: Isolated, name: str) -> None:
    with pytest.raises(Invalid, match="document-too-complex") as caught:
        isolated.run(f"{SAMPLES}:{name}", {})
    assert "secret" not in str(caught.value)
    assert isolated.run(f"{SAMPLES}:echo", {"next": True})[0] == {"next": True}


def test_processor_time_alone_ends_what_is_endless() -> None:
    isolated = Isolated(IsolationLimits(seconds=600, processor_seconds=1), modules=(SAMPLES,))
    with pytest.raises(Invalid, match="document-too-complex"):
        isolated.run(f"{SAMPLES}:loop", {})
    assert isolated.run(f"{SAMPLES}:echo", {"next": True})[0] == {"next": True}
    isolated.close()


def test_functions_of_other_modules_are_not_offered(isolated: Isolated) -> None:
    with pytest.raises(Invalid, match="document-too-complex"):
        isolated.run("os:system", {})


def test_many_jobs_at_once(isolated: Isolated) -> None:
    answers: list[int] = []

    def work(number: int) -> None:
        answers.append(isolated.run(f"{SAMPLES}:echo", {"n": number})[0]["n"])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(12))


def test_killed_nursery_is_started_again() -> None:
    isolated = Isolated(IsolationLimits(seconds=5), modules=(SAMPLES,))
    isolated.run(f"{SAMPLES}:echo", {})
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "tsp.core.isolated"], capture_output=True, text=True, check=True
    )
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
        os.waitid(os.P_PID, int(pid), os.WEXITED | os.WNOWAIT)
    assert isolated.run(f"{SAMPLES}:echo", {"again": 1})[0] == {"again": 1}
    isolated.close()

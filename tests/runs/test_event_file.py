import pytest

from ups_engine.runs.event_file import EVERY_LINE, SAMPLES, EventReader

LINE = '{"seq":%d,"time":%d.5,"kind":"%s","stage":"operator","epoch":0,"step":%d,"data":{"loss":0.25,"lr":0.001}}\n'


def write(path, lines, mode="w"):
    """Steps, with a heartbeat for every hundred and a warning for every thousand."""
    with path.open(mode) as file:
        for seq in range(1, lines + 1):
            kind = "warning" if seq % 1000 == 0 else "heartbeat" if seq % 100 == 0 else "step"
            file.write(LINE % (seq, seq, kind, seq))


def kinds(events):
    return {kind: [event.seq for event in events if event.kind == kind] for kind in ("step", "heartbeat", "warning")}


def test_a_reader_that_is_near_takes_every_step(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, 20_000)
    assert path.stat().st_size < EVERY_LINE
    assert [event.seq for event in EventReader(path, steps=True).events()] == list(range(1, 20_001))


@pytest.mark.parametrize("already", [0, 5000])
def test_a_reader_that_is_far_behind_takes_even_samples_of_the_steps_and_all_that_is_rare(tmp_path, already):
    path = tmp_path / "events.jsonl"
    write(path, already)
    reader = EventReader(path, steps=True)
    assert len(list(reader.events())) == already
    write(path, 200_000, "a")
    events = list(reader.events())
    found = kinds(events)
    assert [event.seq for event in events] == sorted(event.seq for event in events)
    assert found["warning"] == list(range(1000, 200_001, 1000))
    assert 0.9 * SAMPLES < len(found["step"]) < 1.1 * SAMPLES
    assert (
        max(b - a for a, b in zip(found["step"], found["step"][1:], strict=False)) <= 45
    )  # 20 apart; where a heartbeat was hit, 40
    assert found["step"][-1] == 199_999 and found["heartbeat"][-1] == 199_900
    assert reader.offset == path.stat().st_size and list(reader.events()) == []


def test_a_reader_of_the_state_parses_next_to_nothing(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, 50_000)
    found = kinds(list(EventReader(path).events()))
    assert found == {"step": [49_999], "heartbeat": [49_900], "warning": list(range(1000, 50_001, 1000))}


def test_lines_that_changed_behind_a_reader_send_it_back(tmp_path):
    path = tmp_path / "events.jsonl"
    reader = EventReader(path)
    assert not reader.begins_anew() and list(reader.events()) == []
    write(path, 10)
    assert not reader.begins_anew() and list(reader.events())
    with path.open("a") as file:
        file.write('{"seq":11,"ti')  # torn, and no change of what was read
    assert not reader.begins_anew() and list(reader.events()) == []
    write(path, 9)
    write(path, 30, "a")
    assert reader.begins_anew() and reader.offset == 0
    assert list(reader.events())[-1].seq == 30
    path.unlink()
    assert reader.begins_anew() and list(reader.events()) == []

"""A model of what the daemon costs: constants, fitted to some loads, and formulas that predict others from them.

Times are seconds of one core, sizes are bytes, rates are per second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf

from attrs import asdict, evolve, field, frozen

#: The defaults of the settings ``FANOUT_SHARE``, ``FLUSH_MAX_MS`` and ``JOURNAL_INTERVAL_MS``; awareness has half of
#: the share, and its flushes are at least so far apart.
FANOUT_SHARE = 0.5
FLUSH_MAX = 0.04
JOURNAL_INTERVAL = 0.02
AWARENESS_SHARE = FANOUT_SHARE / 2
AWARENESS_WINDOW = 0.005

#: The share of a core that is planned with: above it, latencies grow.
PLANNED = 0.8

#: More rooms than this are no limit.
MOST = 2**24

#: How often the square of the error is reduced for each constant in turn when a model is fitted.
_ROUNDS = 5000


@frozen
class Shape:
    """A load.

    :ivar rooms: the number of rooms; `members`, of connections in each.
    :ivar edits: document updates of each room per second.
    :ivar cursors: awareness updates of each room per second.
    :ivar writers: how many members make these.
    """

    rooms: int
    members: int
    edits: float = 0.0
    cursors: float = 0.0
    writers: int = 1

    def times(self, factor: float) -> Shape:
        """The same kind of rooms, `factor` times as many."""
        return evolve(self, rooms=round(self.rooms * factor))


@frozen
class Counts:
    """What happens in a second.

    :ivar edits: updates received; `cursors`, awareness updates received.
    :ivar sends: messages sent to clients.
    :ivar commits: group commits.
    :ivar flushes: flushes of updates and of awareness, in each of which one message is sent to the clients of a room.
    """

    edits: float
    cursors: float
    sends: float
    commits: float
    flushes: float

    @property
    def received(self) -> float:
        """Messages received."""
        return self.edits + self.cursors


@frozen
class Sample:
    """What was measured of a load: what happened in a second, and what it took.

    :ivar cpu: the share of a core that the daemon took; `database_cpu`, that PostgreSQL took.
    :ivar wal: bytes of WAL per second.
    """

    counts: Counts
    cpu: float
    database_cpu: float
    wal: float


@frozen
class Constants:
    """The constants of the model.

    :ivar edit: CPU of an update that arrives while the daemon works; `cursor`, of an awareness update.
    :ivar wake: what a message takes more if it wakes the daemon up: with cold caches, by itself.
    :ivar flush: CPU of a flush, without sending; `send`, of sending a message to one client.
    :ivar commit: the daemon's CPU of a group commit.
    :ivar idle: the share of a core that the daemon takes when nothing happens.
    :ivar database_edit: PostgreSQL's CPU of an update in the log; `database_commit`, of a commit.
    :ivar wal_edit: bytes of WAL of an update in the log; `wal_commit`, of a commit.
    :ivar connection: memory of a connection; `room`, of a room with an almost empty document.
    :ivar document: memory of a byte of a document, as a factor.
    :ivar base: memory of a daemon without connections.
    """

    edit: float = 0.0
    cursor: float = 0.0
    wake: float = 0.0
    flush: float = 0.0
    send: float = 0.0
    commit: float = 0.0
    idle: float = 0.0
    database_edit: float = 0.0
    database_commit: float = 0.0
    wal_edit: float = 0.0
    wal_commit: float = 0.0
    connection: float = 0.0
    room: float = 0.0
    document: float = 0.0
    base: float = 0.0

    def measures(self) -> dict[str, float]:
        """The constants by name, each with ``model_`` before it."""
        return {f"model_{name}": value for name, value in asdict(self).items()}

    @classmethod
    def from_measures(cls, measures: Mapping[str, float]) -> Constants:
        """Read what :meth:`measures` returns."""
        names = {name: f"model_{name}" for name in asdict(cls())}
        return cls(**{name: measures[key] for name, key in names.items() if key in measures})


@frozen
class Prediction:
    """What a load takes.

    :ivar counts: what happens in a second.
    :ivar cpu: the share of a core; more than 1 means that one core does not carry it.
    :ivar database_cpu: the same for PostgreSQL.
    :ivar wal: bytes of WAL per second.
    :ivar memory: the daemon's memory, in bytes, without documents.
    """

    counts: Counts
    cpu: float
    database_cpu: float
    wal: float
    memory: float = field(default=0.0)


def flushes(rate: float, window: float) -> float:
    """How often a room is flushed.

    After a flush, what arrives within the window is sent at its end, all at once; what arrives later is sent
    immediately.  If arrivals are independent of each other, a flush follows the last one after the window and, if
    nothing has arrived in it, the time until something does.

    :param rate: arrivals per second.
    :param window: from the start of one flush to the earliest start of the next one, in seconds.
    """
    return rate / (rate * window + exp(-rate * window)) if rate else 0.0


def commits(edits: float) -> float:
    """Group commits per second: the first update of each waits for the interval, and others join it."""
    return 1 / (JOURNAL_INTERVAL + 1 / edits) if edits else 0.0


def counts_of(shape: Shape, constants: Constants) -> Counts:
    """What happens in a second."""
    flush = constants.flush + shape.members * constants.send
    window = min(flush / FANOUT_SHARE, FLUSH_MAX + flush)
    # A flush with updates of one member is not sent to that one.
    flushed = flushes(shape.edits, window)
    merged = shape.edits / flushed if flushed else 1.0
    others = shape.members - (1 if shape.writers == 1 else max(2 - merged, 0.0))
    cursor_window = min(max(flush / AWARENESS_SHARE, flush + AWARENESS_WINDOW), FLUSH_MAX + flush)
    cursors_flushed = flushes(shape.cursors, cursor_window)
    sends = flushed * others + cursors_flushed * shape.members
    edits = shape.rooms * shape.edits
    return Counts(
        edits,
        shape.rooms * shape.cursors,
        shape.rooms * sends,
        commits(edits),
        shape.rooms * (flushed + cursors_flushed),
    )


def predict(constants: Constants, shape: Shape) -> Prediction:
    """What a load takes."""
    counts = counts_of(shape, constants)
    busy = (
        constants.idle
        + counts.edits * constants.edit
        + counts.cursors * constants.cursor
        + counts.flushes * constants.flush
        + counts.sends * constants.send
        + counts.commits * constants.commit
    )
    # Messages wake the daemon up in the share of the time in which it is idle, (1 - cpu): solved for the cpu.
    waking = counts.received * constants.wake
    return Prediction(
        counts,
        cpu=(busy + waking) / (1 + waking) if busy < 1 else busy,
        database_cpu=counts.edits * constants.database_edit + counts.commits * constants.database_commit,
        wal=counts.edits * constants.wal_edit + counts.commits * constants.wal_commit,
        memory=constants.base + shape.rooms * (constants.room + shape.members * constants.connection),
    )


def fit(samples: Sequence[Sample], idle: float) -> Constants:
    """Fit the constants of CPU and WAL to measured loads; those of memory are left at 0.

    :param idle: the share of a core that the daemon takes when nothing happens.
    """
    rows = [
        [
            sample.counts.edits,
            sample.counts.cursors,
            sample.counts.received * max(1 - sample.cpu, 0.0),
            sample.counts.flushes,
            sample.counts.sends,
            sample.counts.commits,
        ]
        for sample in samples
    ]
    edit, cursor, wake, flush, send, commit = least_squares(rows, [max(sample.cpu - idle, 1e-6) for sample in samples])
    written = [sample for sample in samples if sample.counts.edits]
    log = [[sample.counts.edits, sample.counts.commits] for sample in written]
    database_edit, database_commit = least_squares(log, [sample.database_cpu for sample in written])
    wal_edit, wal_commit = least_squares(log, [sample.wal for sample in written])
    return Constants(
        edit, cursor, wake, flush, send, commit, idle, database_edit, database_commit, wal_edit, wal_commit
    )


def least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """The factors, none of them negative, with the least squares of relative errors.

    :param rows: for each value what the factors are multiplied with.
    """
    scaled = [[part / value for part in row] for row, value in zip(rows, values, strict=True) if value > 0]
    width = len(rows[0])
    products = [[sum(row[i] * row[j] for row in scaled) for j in range(width)] for i in range(width)]
    sums = [sum(row[i] for row in scaled) for i in range(width)]
    factors = [0.0] * width
    for _ in range(_ROUNDS):
        for i in range(width):
            if products[i][i] > 0:
                rest = sum(products[i][j] * factors[j] for j in range(width) if j != i)
                factors[i] = max((sums[i] - rest) / products[i][i], 0.0)
    return factors


@frozen
class Machine:
    """What the limits are computed for.

    :ivar cores: cores for daemons, one each; `memory`, for all of them.
    :ivar database_cores: cores of PostgreSQL.
    :ivar wal: the bytes of WAL per second that its disk takes.
    :ivar descriptors: open files that a daemon may have.
    """

    cores: int = 4
    memory: float = 8 * 2**30
    database_cores: int = 2
    wal: float = 50 * 2**20
    descriptors: int = 65_536


def limits(constants: Constants, room: Shape, machine: Machine, document: float = 0.0) -> dict[str, float]:
    """How many rooms of a kind each resource of a machine carries, by its name; `inf` if it is no limit.

    :param room: the load of one room.
    :param document: the size of a room's document as one update, in bytes.
    """

    def most(fits: Callable[[Prediction], bool]) -> float:
        low, high = 0, 1
        while fits(predict(constants, evolve(room, rooms=high))):
            low, high = high, high * 2
            if high > MOST:
                return inf
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(predict(constants, evolve(room, rooms=middle))) else (low, middle)
        return float(low)

    # Each daemon commits for itself: on several cores there are as many commits as on one, several times.
    each = most(lambda load: load.cpu <= PLANNED)
    memory = constants.room + room.members * constants.connection + document * constants.document
    database = most(
        lambda load: (
            load.counts.edits * constants.database_edit
            + machine.cores * load.counts.commits * constants.database_commit
            <= PLANNED * machine.database_cores
        )
    )
    return {
        "CPU of one core": each,
        "CPU of all cores": each * machine.cores,
        "memory": (machine.memory * PLANNED - machine.cores * constants.base) / memory if memory else inf,
        "open files": machine.cores * (machine.descriptors - 100) / room.members,
        "CPU of PostgreSQL": database,
        "WAL": most(lambda load: load.wal <= PLANNED * machine.wal),
    }

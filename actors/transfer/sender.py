"""Sending the learner's weights from a thread that may hang, while the learner does not.

Weights are gathered by a collective of all learner ranks, which must run to its end whatever
happens to the transport: else the other ranks wait for ever. So the calling thread gathers,
and a daemon thread sends. When the transport fails, gathering goes on and the weights are
dropped; when it hangs past its deadline, it is left behind.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource
from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from actors.ports import free_port
from actors.transfer.client import GRACE_SECONDS, GeneratorClient
from actors.transfer.gloo_wire import GlooTrainerInitInfo
from actors.transfer.registry import register_backends
from actors.transfer.report import TransferReport

QUEUED = 8
"""Tensors gathered ahead of the transport: few, for each is whole and may be large."""
POLL_SECONDS = 0.2
BUCKETS = 16
"""Into which gloo's broadcast is cut, at least."""
LEAST_BUCKET = 4 << 20
"""Bytes that are not cut up any more."""
MIB = 1024**2


class Declared(Protocol):
    """What is known of a weight before it is gathered."""

    @property
    def name(self) -> str:
        """Name in the Hugging Face checkpoint."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Type on the wire."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The whole shape."""
        ...


class Weights(Protocol):
    """The learner's weights: declared without a collective, iterated with one."""

    def metadata(self) -> Sequence[Declared]:
        """Name, type and whole shape of each weight, in order."""
        ...

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]: ...


class QueuedSource(WeightSource):  # type: ignore[misc, unused-ignore]
    """The weights of one broadcast as vLLM's trainer reads them: from a queue."""

    def __init__(self, metadata: Iterable[Declared]) -> None:
        self._metadata = [ParamMeta(m.name, m.dtype, tuple(m.shape)) for m in metadata]
        self._queue: queue.Queue[tuple[str, torch.Tensor] | None] = queue.Queue(QUEUED)

    def metadata(self) -> list[ParamMeta]:
        """Name, type and whole shape of each weight, in order."""
        return self._metadata

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(torch.Size(m.shape).numel() * m.dtype.itemsize for m in self._metadata)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        while (item := self._queue.get()) is not None:
            yield item

    def begin(self) -> None:
        """Start afresh: nothing of an earlier broadcast is left in the queue."""
        self._queue = queue.Queue(QUEUED)

    def offer(self, item: tuple[str, torch.Tensor] | None) -> bool:
        """Put a weight (None: the end) into the queue; False: it is full at the moment."""
        try:
            self._queue.put(item, timeout=POLL_SECONDS)
        except queue.Full:
            return False
        return True


class Sender:
    """The end of the transfer group at learner rank 0.

    Args:
        weights: the learner's weights.
        client: the line to the generators.
        backend: ``gloo`` or ``nccl``.
        address: address of this machine that the generators can reach.
        bucket_mib: size of a packed bucket.
        seconds: deadline of each phase.
        share_memory: let engines that are all on this machine read the weights out of its
            memory (gloo).
    """

    def __init__(
        self,
        weights: Weights,
        client: GeneratorClient,
        *,
        backend: str,
        address: str,
        bucket_mib: int,
        seconds: float,
        share_memory: bool,
    ) -> None:
        self._weights = weights
        self._client = client
        self._backend = backend
        self._address = address
        self._bucket_bytes = bucket_mib * MIB
        self._seconds = seconds
        self._share_memory = share_memory
        self._source = QueuedSource(weights.metadata())
        self._trainer: Any = None

    def connect(self) -> None:
        """Make a new transfer group; the one before it, if any, is abandoned.

        Raises:
            DeadlineError: an engine did not join in time; names it.
            CoevolveError: an engine failed.
        """
        self._trainer = None
        self._client.begin(self._client.version)
        self._trainer = self._result(_Task(self._open, "weight-transfer-init"))

    def _open(self) -> Any:
        register_backends()
        return WeightTransferTrainerFactory.trainer_init(
            self._init_info(), client=self._client, source=self._source
        )

    def _init_info(self) -> GlooTrainerInitInfo | NCCLTrainerInitInfo:
        if self._backend == "gloo":
            return GlooTrainerInitInfo(
                address=self._address,
                world_size=self._client.world_size,
                bucket_bytes=self._bucket_of_many(),
                share_memory=self._share_memory,
                # Past the deadline of the calls to the engines, which can name who is silent.
                seconds=self._seconds + GRACE_SECONDS,
                rank=0,
            )
        return NCCLTrainerInitInfo(
            master_address=self._address,
            master_port=free_port(),
            world_size=self._client.world_size,
            packed=True,
            packed_buffer_size_bytes=self._bucket_bytes,
            rank=0,
        )

    def _bucket_of_many(self) -> int:
        """Bytes of a bucket so small that packing, sending and loading overlap."""
        few = max(LEAST_BUCKET, self._source.nbytes // BUCKETS)
        return min(self._bucket_bytes, few)

    def send(self, version: int) -> TransferReport:
        """Broadcast the weights as ``version``. The other learner ranks iterate meanwhile.

        After a failure the group is abandoned, and the next call makes a new one.

        Raises:
            DeadlineError: a phase did not end in time; names phase and generator.
            CoevolveError: an engine failed.
        """
        self._client.begin(version)
        self._source.begin()
        trainer, self._trainer = self._trainer, None
        task = _Task(lambda: self._transmit(trainer), f"weight-transfer-{version}")
        try:
            self._feed(task)
            self._trainer = self._result(task)
        except BaseException:
            self._client.abandon()
            raise
        return TransferReport(version, self._source.nbytes, dict(self._client.progress.seconds))

    def _transmit(self, trainer: Any) -> Any:
        """One broadcast, over ``trainer`` or a new one. Returns the one that worked."""
        if trainer is None:
            trainer = self._open()
        if self._backend == "nccl":
            # Streams of the right device: a new thread starts on the first one.
            torch.cuda.set_device(torch.accelerator.current_device_index())
        trainer.send_weights()
        return trainer

    def _feed(self, task: _Task) -> None:
        """Gather every weight, whatever becomes of the transport."""
        lost = False
        for item in self._weights:
            while not lost and not self._source.offer(item):
                lost = task.done or self._client.trouble() is not None
        while not lost and not self._source.offer(None):
            lost = task.done or self._client.trouble() is not None

    def _result(self, task: _Task) -> Any:
        """What a task returns; it is left behind as soon as it cannot come to its end."""
        while not task.wait(POLL_SECONDS):
            if trouble := self._client.trouble():
                raise trouble
        if task.error is not None:
            raise self._client.trouble() or task.error
        return task.value


class _Task:
    """A function on a daemon thread, which never keeps the process from ending."""

    def __init__(self, function: Any, name: str) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the function has returned or raised."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for the end; whether it has come."""
        self._thread.join(seconds)
        return self.done

    def _run(self) -> None:
        try:
            self.value = self._function()
        except BaseException as error:  # noqa: BLE001 - carried to the waiting thread
            self.error = error

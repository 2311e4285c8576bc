"""What a run works with, and what is due when."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from mtx.checkpoint.model_folder import TrainedModel
from mtx.checkpoint.training import Progress, Training, saved_steps
from mtx.config.settings import Config, TrainSettings
from mtx.data.batching import part_batches
from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.ids import Rows
from mtx.distributed.process_group import ProcessGroup
from mtx.errors import ExitCode
from mtx.system.device import Precision
from mtx.system.signals import Requests
from mtx.train.dev_set import DevSet
from mtx.train.engine import Engine
from mtx.train.run_folder import RunFolder


class Stopped(BaseException):
    """A signal asked the run to stop, and its state is saved: no error."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a run works with, whether it begins or goes on."""

    trained: TrainedModel
    corpus: Corpus
    mixture: Mixture
    """How often each of its sources comes."""
    dev: DevSet | None
    precision: Precision
    matrix_rate: float
    """FLOP/s that the machine was measured to reach in this precision."""
    about: dict[str, Any]
    """What the manifest of a checkpoint says of its making."""

    def first_batches(self, settings: TrainSettings) -> list[Rows]:
        """The rows of each batch of the first part of the first epoch."""
        order, lengths = self.mixture.order(settings.seed, epoch=0), (self.corpus.src.lengths, self.corpus.tgt.lengths)
        return part_batches(order, *lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=0, part=0)

    def num_target_tokens(self, batches: Sequence[Rows]) -> float:
        """Of a batch, on average, with EOS."""
        lengths = self.corpus.tgt.lengths
        return sum(int(lengths[rows].sum()) + len(rows) for rows in batches) / len(batches)


@dataclass(frozen=True, slots=True)
class Session:
    """A run as one process works on it, from the start or from where the last one stopped."""

    config: Config
    run: RunFolder
    equipment: Equipment
    engine: Engine
    requests: Requests
    """Of this process."""
    agreed: Requests
    """Of all ranks; the very same where there is one."""

    @property
    def group(self) -> ProcessGroup:
        """This process among those that train together."""
        return self.engine.group

    @property
    def training(self) -> Training:
        """What is saved."""
        return self.engine.saved

    @property
    def trained(self) -> TrainedModel:
        """The model in training, with its tokenizer."""
        return self.equipment.trained

    @property
    def corpus(self) -> Corpus:
        """What it is trained on."""
        return self.equipment.corpus

    @property
    def dev(self) -> DevSet | None:
        """What it is validated on."""
        return self.equipment.dev

    @property
    def precision(self) -> Precision:
        """The arithmetic of its updates, and the device."""
        return self.equipment.precision

    @property
    def progress(self) -> Progress:
        """Where the training stands."""
        return self.training.progress

    def agree(self) -> None:
        """Together: what was asked of one rank is asked of all."""
        if self.group.is_distributed:
            stop, save = self.group.all_reduce_max(self.requests.stop or 0, int(self.requests.is_save_wanted))
            self.agreed.stop = ExitCode(stop) if stop else None
            self.agreed.is_save_wanted = bool(save)

    def stop_if_asked(self) -> None:
        """Raise Stopped if a signal came, to any of the ranks when they last agreed."""
        if self.agreed.stop is not None:
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Together: let each rank do its share of a long job inside, until a signal to any of them stops them all.

        The ranks meet at the end, also when the job was interrupted: none of them leaves while another one waits for
        it. Only where everything is saved already.

        Raises:
            Stopped: a signal came to one of the ranks.
        """
        with suppress(Stopped):
            yield
        self.agree()
        self.stop_if_asked()

    def stop_midway(self, *_: Any) -> None:
        """Raise Stopped if a signal came to any of the ranks; a callback for work inside `interruptible`."""
        if self.requests.stop is not None:
            self.group.request_stop()
            raise Stopped
        if self.group.is_stop_requested():
            raise Stopped

    def is_save_due(self, step: int) -> bool:
        """Whether a checkpoint belongs to `step`: each validation needs one, too."""
        return step % self.config.train.save_every == 0 or self.is_validation_due(step)

    def is_validation_due(self, step: int) -> bool:
        """Whether a validation belongs to `step`."""
        return step % self.config.train.eval_every == 0 or step >= self.config.train.max_steps

    def past_steps(self) -> list[int]:
        """The steps of the checkpoints up to now. A later one is damaged, and written anew when its step comes."""
        return [step for step in saved_steps(self.run.checkpoints) if step <= self.progress.step]

    def steps_to_average(self) -> list[int]:
        """The newest checkpoints at regular steps: one that a signal left must not change the result."""
        regular = [step for step in self.past_steps() if self.is_save_due(step)]
        return regular[-self.config.train.average :]

"""Options of the loop: those of its stages, and which of them must agree."""

import dataclasses

from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.refine import RefineOptions
from hardmo_jax.pipelines.regress_people import InitialiseOptions
from hardmo_jax.pipelines.render_training import RenderTrainingOptions
from hardmo_jax.pipelines.train_regressor import TrainRegressorOptions


class LoopError(ValueError):
    """The loop cannot begin or go on; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How often, and one section for each stage."""

    rounds: int = 3
    """Of annotating, refining and training; behind the last one people are annotated once more."""
    people: int = 500
    """Rendered where no input is given; wins over `render.people`."""
    goes_on_training: bool = True
    """Whether the network of a round begins as that of the round before; else each begins as `train.network` says."""
    least_labels: int = 16
    """With fewer that can be trained on the loop stops and says so."""
    render: RenderTrainingOptions = RenderTrainingOptions()
    """Who is rendered."""
    annotate: AnnotateOptions = AnnotateOptions()
    """How people are labelled; from the second round on `initialise` is the network that was trained."""
    hand: RefineOptions = RefineOptions(subset="hand")
    """How wrong hands are found and repaired."""
    foot: RefineOptions = RefineOptions(subset="foot")
    """And wrong feet."""
    train: TrainRegressorOptions = TrainRegressorOptions()
    """How a round trains; `sources` are beside the labels of the store."""

    def __post_init__(self) -> None:
        for name in ("rounds", "people", "least_labels"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        for subset in ("hand", "foot"):
            chosen: RefineOptions = getattr(self, subset)
            if chosen.subset != subset:
                raise ValueError(f"`{subset}.subset` must be {subset}, got {chosen.subset!r}")
            if chosen.body != self.annotate.body:
                raise ValueError(
                    f"`{subset}.body` must be `annotate.body`, as all labels of the store are of one body; got "
                    f"{chosen.body} and {self.annotate.body}"
                )
        if self.render.keypoints != "true":
            raise ValueError(
                "`render.keypoints` must be true: pictures are looked at in a loop, and the labels of rendered people "
                f"are the truth that is compared with; got {self.render.keypoints!r}"
            )
        if self.train.body_model != self.annotate.body.model:
            raise ValueError(
                f"`train.body_model` must be `annotate.body.model`, whose labels are trained on; got "
                f"{self.train.body_model!r} and {self.annotate.body.model!r}"
            )
        # What does not go together is found now, and not behind the first training.
        self.annotate_from("network")

    def annotate_from(self, checkpoint: str | None) -> AnnotateOptions:
        """Options of annotating from a network that was trained here; None takes them as they are.

        Raises:
            ValueError: If other options do not go with it.
        """
        if checkpoint is None:
            return self.annotate
        changes = {"network": self.train.network.network, "checkpoint": checkpoint}
        initialise: InitialiseOptions = dataclasses.replace(self.annotate.initialise, **changes)
        return dataclasses.replace(self.annotate, initialise=initialise)

    def train_from(self, checkpoint: str | None, number: int) -> TrainRegressorOptions:
        """Options of the training of a round: its own random numbers, and where its network begins.

        Args:
            checkpoint: The network of the round before; None where there is none.
            number: Of the round, from 1.
        """
        network = self.train.network
        if checkpoint is not None and self.goes_on_training:
            network = dataclasses.replace(network, checkpoint=checkpoint)
        run = dataclasses.replace(self.train.run, seed=self.train.run.seed + number - 1)
        return dataclasses.replace(self.train, network=network, run=run)

"""nnU-Net's 2-D plan on a fold of a cohort, for as many minutes of one core as one of our trainings takes.

    make .venv-nnunet/.installed    # an environment of its own: nnU-Net's torchvision wants another torch than ours
    .venv-nnunet/bin/python benchmarks/nnunet.py COHORT --minutes 12

It trains on our training and validation part together, since it chooses nothing, and is tested on our test part at its
own threshold of 0.5. Its augmentation, network, loss, optimiser and schedule are its own; the schedule is stretched
over the budget. One thread computes, augmentation included, and its CPU time counts, so that other processes on the
machine change nothing. nnU-Net plans batches for a GPU: `--batch` sets another size.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

EPOCHS = 20  # the steps of nnU-Net's learning rate
TRIED = 3  # iterations by which the time of one is estimated
DATASET = "Dataset101_Mass"


def prepared(cohort: Path, root: Path) -> dict:
    """The raw and the preprocessed dataset below `root`, with our folds; the plans."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    from massmatch.data import open_cohort
    from massmatch.data.export import export_nnunet

    raw = export_nnunet(open_cohort(cohort), root / "raw" / DATASET)
    api.extract_fingerprints([101], num_processes=1)
    name = api.plan_experiments([101]) or "nnUNetPlans"
    api.preprocess([101], name, configurations=["2d"], num_processes=[1])
    folder = root / "pre" / DATASET
    shutil.copy(raw / "splits_final.json", folder)
    return json.loads((folder / "nnUNetPlans.json").read_text())


def trained(plans: dict, fold: int, root: Path, minutes: float):
    """A trainer whose training took about so many minutes of CPU time, and how many it took."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    information = json.loads((root / "pre" / DATASET / "dataset.json").read_text())

    def fresh(epochs: int, iterations: int):
        trainer = nnUNetTrainer(
            {**plans, "continue_training": False}, "2d", fold, information, device=torch.device("cpu")
        )
        trainer.num_epochs, trainer.num_iterations_per_epoch = epochs, iterations
        trainer.num_val_iterations_per_epoch = 1  # its pseudo Dice is only shown
        return trainer

    def seconds_of(trainer) -> float:
        begun = time.process_time()
        trainer.run_training()
        return time.process_time() - begun

    one = (seconds_of(fresh(1, 1 + TRIED)) - seconds_of(fresh(1, 1))) / TRIED
    iterations = max(1, round(60 * minutes / one / EPOCHS))
    trainer = fresh(EPOCHS, iterations)
    return trainer, iterations, seconds_of(trainer) / 60


def measured(trainer, fold: int, root: Path) -> dict:
    """Mean and pooled DSC of the fold's test part, and how many masses were missed wholly."""
    import numpy as np
    import torch
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    raw = root / "raw" / DATASET
    cases = json.loads((raw / "splits_final.json").read_text())[fold]["val"]
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    weights = [trainer.network.state_dict()]
    plans, configuration, information = trainer.plans_manager, trainer.configuration_manager, trainer.dataset_json
    predictor.manual_initialization(
        trainer.network, plans, configuration, weights, information, type(trainer).__name__, None
    )
    counts = []
    for case in cases:
        data, properties = NaturalImage2DIO().read_images([str(raw / f"imagesTr/{case}_0000.png")])
        found = np.squeeze(predictor.predict_single_npy_array(data, properties)) > 0
        true = np.squeeze(NaturalImage2DIO().read_seg(str(raw / f"labelsTr/{case}.png"))[0]) > 0
        counts.append(((found & true).sum(), found.sum(), true.sum()))
    tp, p, y = np.array(counts, dtype=float).T
    return {
        "images": len(cases),
        "dsc": float((2 * tp / (p + y)).mean()),
        "dsc_pooled": float(2 * tp.sum() / (p.sum() + y.sum())),
        "missed": int((tp == 0).sum()),
    }


def main() -> None:
    """Train, measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=12, help="of one core, for the training")
    parser.add_argument("--batch", type=int, help="images in a batch, by default as planned")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for variable, name in (("nnUNet_raw", "raw"), ("nnUNet_preprocessed", "pre"), ("nnUNet_results", "results")):
            (root / name).mkdir()
            os.environ[variable] = str(root / name)
        os.environ |= {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"}
        import torch

        plans = prepared(asked.cohort, root)
        os.environ |= {"nnUNet_n_proc_DA": "0"}  # from now on: augmentation in this process, where its time is counted
        torch.set_num_threads(1)
        torch.manual_seed(0)
        planned = plans["configurations"]["2d"]["batch_size"]
        batch = plans["configurations"]["2d"]["batch_size"] = asked.batch or planned
        trainer, iterations, minutes = trained(plans, asked.fold, root, asked.minutes)
        told = {
            "planned_batch": planned,
            "batch": batch,
            "parameters": sum(of.numel() for of in trainer.network.parameters()),
            "iterations": EPOCHS * iterations,
            "cpu_minutes": round(minutes, 1),
            **measured(trainer, asked.fold, root),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()

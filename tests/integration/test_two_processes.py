"""Two processes under torchrun, on the CPU through gloo, give the loss curve and the weights of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

PROGRAM = """
import json, sys
from pathlib import Path
from retrieval.config import (EncoderConfig, Precision, RuntimeConfig)
from retrieval.training_config import (ContrastiveConfig)
from retrieval.contrastive import train_retriever
from retrieval.records import Judgment, Query

case = json.loads(Path(sys.argv[1]).read_text())
recipe = ContrastiveConfig(
    epochs=2, batch_size=16, batch_tokens=60, learning_rate=2e-3, min_grade=2, patience=9, noise_weight=0.3,
    precision=Precision.fp32, seed=3,
)
train_retriever(
    recipe,
    encoder=EncoderConfig(model=case["model"], query_max_tokens=16),
    runtime=RuntimeConfig(device="cpu", threads=1),
    queries=[Query(*row) for row in case["queries"]],
    judgments=[Judgment(*row) for row in case["judgments"]],
    product_texts=case["texts"],
    dev_query_ids=set(case["dev"]),
    out=Path(sys.argv[2]),
    progress=False,
)
"""


@pytest.fixture
def case(tmp_path, tiny_model_folder, tiny_products, tiny_queries, tiny_judgments):
    path = tmp_path / "case.json"
    content = {
        "model": str(tiny_model_folder),
        "queries": [[query.query_id, query.text] for query in tiny_queries],
        "judgments": [[judged.query_id, judged.product_id, judged.grade] for judged in tiny_judgments],
        "texts": {product.product_id: product.title for product in tiny_products},
        "dev": ["q-red-mouse", "q-acme-chair"],
    }
    path.write_text(json.dumps(content))
    return path


def train(case: Path, out: Path, launcher: list[str]) -> dict:
    program = case.with_name("program.py")
    program.write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(program), str(case), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "training.json").read_text())["report"]


def test_two_processes_give_the_loss_curve_of_one(case, tmp_path):
    one = train(case, tmp_path / "one", [])
    two = train(case, tmp_path / "two", ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"])
    assert (one["processes"], two["processes"]) == (1, 2)
    assert len(one["losses"]) == 6
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert [point["ndcg"] for point in two["dev"]] == pytest.approx([point["ndcg"] for point in one["dev"]])
    alone, shared = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(np.allclose(alone[name], shared[name], atol=1e-4) for name in alone)

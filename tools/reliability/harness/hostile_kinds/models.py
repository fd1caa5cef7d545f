"""Model folders: lists of modules, settings, weights and tokenizers."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tools.reliability.harness.draft import Draft
from tools.reliability.harness.hostile_kinds.kind import (
    CODE,
    PAYLOAD,
    PICKLE,
    HostileKind,
    fit_all,
    on_bytes,
    on_json,
    with_file,
)


def modules() -> Iterator[HostileKind]:
    """Yield lists of modules."""
    classes = (
        *CODE, f"{PAYLOAD}.Transformer", "transformers.AutoModel", "sentence_transformers.models.CLIPModel",
        "sentence_transformers..models.Pooling", f"sentence_transformers.models.Pooling;import {PAYLOAD}",
        "Transformer", "sentence_transformers.models.Transformer.__init__", "", None, 7,
    )  # fmt: skip
    for model in ("encoder", "reranker"):
        for name in classes:
            change = {"type": name}
            yield on_json(f"{model}/modules.json", lambda modules, c=change: modules[1].update(c), f"class {name!r}")
        for path in ("../../../elsewhere", "/etc", "1_Pooling/../..", "1_Pooling/../../encoder"):
            change = {"path": path}
            yield on_json(f"{model}/modules.json", lambda modules, c=change: modules[1].update(c), f"path {path!r}")
        yield on_json(
            f"{model}/modules.json", lambda modules: modules[0].update(kwargs=["trust_remote_code"]), "kwargs"
        )
        yield on_json(f"{model}/modules.json", lambda modules: modules.clear(), "no modules")
        yield on_bytes(f"{model}/modules.json is an object", f"{model}/modules.json", lambda content: b'{"0": {}}')
        yield on_bytes(f"{model}/modules.json holds texts", f"{model}/modules.json", lambda content: b'["x"]')


def settings() -> Iterator[HostileKind]:
    """Yield settings that name code, or that libraries would act on in ways of their own."""
    named = {
        "AutoConfig": f"{PAYLOAD}.Config",
        "AutoModel": f"{PAYLOAD}.Model",
        "AutoTokenizer": [f"{PAYLOAD}.T", None],
    }
    network: tuple[dict[str, Any], ...] = (
        {"auto_map": named}, {"_attn_implementation_internal": f"kernels-community/{PAYLOAD}"}, {"_target_": CODE[0]},
        {"custom_pipelines": {"x": {"impl": f"{PAYLOAD}.Pipeline"}}}, {"quantization_config": {"quant_method": "bnb"}},
        {"model_type": "lightglue"}, {"model_type": PAYLOAD}, {"model_type": None}, {"model_type": ["bert"]},
        {"architectures": [f"{PAYLOAD}.Model"]}, {"architectures": "BertModel"}, {"hidden_act": CODE[0]},
        {"trust_remote_code": True}, {"text_config": {"auto_map": named}}, {"layers": [{"_target_": CODE[0]}]},
        {"vision_config": {"model_type": "x", "code": "os.system"}}, {"_private": 1},
        {"max_position_embeddings": "x"}, {"hidden_size": -1}, {"num_hidden_layers": 10**9}, {"vocab_size": 2**40},
        {"hidden_act": "no such activation"}, {"num_attention_heads": 3},
    )  # fmt: skip
    for model in ("encoder", "reranker"):
        for change in network:
            yield on_json(f"{model}/config.json", lambda config, c=change: config.update(c), repr(change))
        for change in (
            {"auto_map": named}, {"tokenizer_class": f"{PAYLOAD}.Tokenizer"}, {"tokenizer_class": 7},
            {"processor_class": CODE[1]}, {"_target_": CODE[0]}, {"extra": {"auto_map": named}},
        ):  # fmt: skip
            yield on_json(f"{model}/tokenizer_config.json", lambda config, c=change: config.update(c), repr(change))
        for change in (
            {"model_args": {"trust_remote_code": True}}, {"tokenizer_args": {"use_fast": False}},
            {"model_kwargs": {"attn_implementation": "x"}}, {"config_kwargs": {"x": 1}}, {"processor_kwargs": {"x": 1}},
            {"processing_kwargs": {"text": {"x": 1}}}, {"_target_": CODE[0]}, {"modality_config": {"text": CODE[0]}},
            {"modality_config": {"text": {"method": "push_to_hub", "method_output_name": None}}},
            {"modality_config": {"text": {"method": "save_pretrained"}}}, {"modality_config": [1]},
            {"modality_config": {"text": {"method": "forward", "method_output_name": 7}}},
        ):  # fmt: skip
            yield on_json(f"{model}/sentence_bert_config.json", lambda config, c=change: config.update(c), repr(change))
        for name in ("adapter_config.json", "sentence_roberta_config.json", "processor_config.json"):
            content = json.dumps({"base_model_name_or_path": "/elsewhere", "auto_map": named}).encode()
            yield with_file(f"{model}/{name}", content, without=f"{model}/sentence_bert_config.json")
        for name in ("activation_fn", "similarity_fn_name"):
            for code in (*CODE, "torch.hub.load", "torch.utils.collect_env.main"):
                change = {name: code}
                yield on_json(
                    f"{model}/config_sentence_transformers.json",
                    lambda config, c=change: config.update(c),
                    repr(change),
                )
    for change in ({"prompts": "x"}, {"prompts": {"query": 7}}, {"truncate_dim": "4"}, {"prompts": [1]}):
        yield on_json(
            "encoder/config_sentence_transformers.json", lambda config, c=change: config.update(c), repr(change)
        )
    for change in (
        {"embedding_dimension": "x"},
        {"embedding_dimension": None},
        {"pooling_mode": 7},
        {"pooling_mode": "x"},
    ):
        yield on_json("encoder/1_Pooling/config.json", lambda config, c=change: config.update(c), repr(change))
    for code in (*CODE, "torch.hub.load", "torch.nn.functional.relu", "torch.nn.modules.activation.__import__"):
        change = {"activation_function": code}
        yield on_json("reranker/2_Dense/config.json", lambda config, c=change: config.update(c), repr(change))


def weights() -> Iterator[HostileKind]:
    """Yield files of weights that are none, or that are not the network's."""
    for model in ("encoder", "reranker"):
        for suffix in ("bin", "pt", "pth", "pt2", "ckpt", "pkl", "joblib", "npy", "npz", "PKL"):
            yield with_file(f"{model}/1_Pooling/weights.{suffix}", PICKLE)
        for suffix in ("py", "so", "sh", "onnx", "jinja", "yaml"):
            yield with_file(f"{model}/run.{suffix}", b"x")
        contents = {
            "a pickle": PICKLE, "nothing": b"", "eight bytes": b"\0" * 8,
            "a header of a terabyte": struct.pack("<Q", 2**40) + b"{}",
            "a header of text": struct.pack("<Q", 4) + b"abcd",
            "a zip": b"PK\x03\x04" + b"\0" * 60, "no tensors": struct.pack("<Q", 2) + b"{}",
            "a tensor outside": _header({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
            "tensors over each other": _header(
                {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"}, b"\0" * 4
            ),
        }  # fmt: skip
        for what, content in contents.items():
            yield _on_weights(model, what, lambda _, content=content: content)  # type: ignore[misc]
        yield _on_weights(model, "NaN", lambda path: _saved(path, lambda name, tensor: tensor * np.nan))
        yield _on_weights(model, "zeros", lambda path: _saved(path, lambda name, tensor: tensor * 0))
        yield _on_weights(model, "other shapes", lambda path: _saved(path, lambda name, tensor: tensor[..., :1]))
        yield _on_weights(
            model, "other numbers", lambda path: _saved(path, lambda name, tensor: np.flip(tensor, axis=0).copy())
        )
        yield _on_weights(model, "other names", lambda path: _saved(path, lambda name, tensor: tensor, prefix="x."))


def _on_weights(model: str, what: str, make: Callable[[Path], bytes]) -> HostileKind:
    def harm(draft: Draft) -> None:
        path = draft.folder / model / "model.safetensors"
        path.write_bytes(make(path))
        fit_all(draft)

    return HostileKind(f"{model}/model.safetensors holds {what}", harm)


def _saved(path: Path, change: Callable[[str, Any], Any], prefix: str = "") -> bytes:
    from safetensors.numpy import load_file, save

    tensors = {f"{prefix}{name}": change(name, tensor) for name, tensor in load_file(path).items()}
    return bytes(save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, {"format": "pt"}))


def _header(entries: dict[str, Any], content: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + content


def tokenizers() -> Iterator[HostileKind]:
    """Yield tokenizers that are none, or that are not the network's."""
    for model in ("encoder", "reranker"):
        file = f"{model}/tokenizer.json"
        for what, content in {
            "nothing": b"",
            "a list": b"[]",
            "an object": b"{}",
            "a pickle": PICKLE,
        }.items():
            yield on_bytes(f"{file} holds {what}", file, lambda _, content=content: content)  # type: ignore[misc]
        for what, change in {
            "numbers beyond the network": lambda t: t["model"].update(
                vocab={w: n + 999 for w, n in t["model"]["vocab"].items()}
            ),
            "other numbers": lambda t: t["model"].update(vocab=_rotated(t["model"]["vocab"])),
            "an unknown kind": lambda t: t["model"].update(type="Evil"),
            "no model": lambda t: t.pop("model"),
            "no lower-casing": lambda t: t["normalizer"].update(lowercase=False, clean_text="x"),
        }.items():
            yield on_json(file, change, what)


def _rotated(vocabulary: dict[str, int]) -> dict[str, int]:
    words = [word for word in vocabulary if not word.startswith("[")]
    numbers = [vocabulary[word] for word in words]
    return vocabulary | dict(zip(words, numbers[1:] + numbers[:1], strict=True))

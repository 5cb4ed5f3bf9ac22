"""The folder with the files of a base model, from which an export is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import snapshot_download
from transformers.utils.hub import cached_file

from jepa_vlm.adapters.loading import load_backbone, source_of
from jepa_vlm.adapters.processors import save_processor
from jepa_vlm.adapters.tiny import TINY
from jepa_vlm.errors import ExportError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# Files that transformers 4 and 5 read beside the weights, and terms of use, which hold for derived models too. Python
# files are never among them. Nor is the model card: it describes the base.
FILES = (
    INDEX, CONFIG, "generation_config.json",
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
    "chat_template.json", "chat_template.jinja", "additional_chat_templates/*.jinja",
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "tekken.json", "vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json", "added_tokens.json",
    *(f"{terms}{kind}" for terms in ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY") for kind in ("", ".txt", ".md")),
)  # fmt: skip


@contextmanager
def base_folder(name: str, *, seed: int = 0, dtype: str = "float32") -> Iterator[Path]:
    """Yield the folder with the files of a base: its own, or the hub's snapshot on this machine.

    For a hub id, those of ``FILES`` that loading did not need are downloaded too, where the hub can be reached. The
    files of a ``tiny-random-*`` model are written to a temporary folder.

    Args:
        name: Name of the backbone, as for ``load_backbone``.
        seed: Random seed of the weights of a ``tiny-random-*`` model.
        dtype: Type of the weights of a ``tiny-random-*`` model.
    """
    if name in TINY:
        with TemporaryDirectory() as made:
            backbone = load_backbone(name, seed=seed, dtype=dtype)
            backbone.base.save_pretrained(made)
            save_processor(backbone.processor, Path(made), video_processor=backbone.adapter.video_processor)
            del backbone
            yield Path(made)
        return
    source = source_of(name)
    if Path(source).is_dir():
        yield Path(source)
    else:
        commit = Path(str(cached_file(source, CONFIG))).parent.name
        yield Path(snapshot_download(source, revision=commit, allow_patterns=list(FILES)))


def check_base(name: str) -> None:
    """Check that an export can be made from the files of a base, see ``kept_files``."""
    if name not in TINY:
        with base_folder(name) as folder:
            kept_files(folder)


def kept_files(folder: Path) -> tuple[str, ...]:
    """Return the files that an export copies from a base, weights apart, as paths in its folder.

    Raises:
        ExportError: If one is a link that leads out of the folder, or the base has no weights that can be merged into.
    """
    found = sorted({path for pattern in FILES for path in folder.glob(pattern) if path.is_file()})
    roots = [folder.resolve()]
    if roots[0].parent.name == "snapshots" and roots[0].parents[1].name.startswith("models--"):
        roots.append(roots[0].parents[1])  # the hub's cache: its snapshots are links to ../../blobs
    for path in found:
        if not any(path.resolve().is_relative_to(root) for root in roots):
            raise ExportError(
                f"{path} must be a file in the base's folder, to be copied into the export; it is a link to "
                f"{path.resolve()}. Put a copy of that file there."
            )
    if not any((folder / name).is_file() for name in (WEIGHTS, INDEX)):
        raise ExportError(f"Base {folder} has no {WEIGHTS} and no {INDEX}; save it again as safetensors.")
    if "quantization_config" in json.loads((folder / CONFIG).read_text(encoding="utf-8")):
        raise ExportError(
            f"Base {folder} holds quantized weights, into which nothing can be merged exactly; train on the model that "
            "it was made from, with --quantize if memory is short."
        )
    single = (folder / WEIGHTS).is_file()  # then transformers does not look at the index
    return tuple(path.relative_to(folder).as_posix() for path in found if not (single and path.name == INDEX))


def weight_files(folder: Path) -> tuple[str, ...]:
    """Return the names of a base's safetensors files, in the order in which transformers looks for them."""
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return tuple(sorted(set(index["weight_map"].values())))

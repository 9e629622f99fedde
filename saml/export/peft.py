"""A LoRA as an adapter of PEFT's: adapter_config.json and adapter_model.safetensors.

Names and keys are those that `PeftModel.from_pretrained` and vLLM read. PEFT itself is not needed.
"""

import json
from pathlib import Path

from safetensors.torch import save

from saml.export.merged import layers
from saml.export.source import Source
from saml.runtime.files import write_atomically

# In our names the network of transformers is the attribute `network`.
_OURS, _THEIRS = "network.", "base_model.model."


def write_peft(source: Source, out: Path, base_model: str) -> None:
    """Write the adapter.

    Args:
        source: the LoRA.
        out: the folder to write.
        base_model: the name or folder of the transformers model that it belongs on.
    """
    tensors, targets = {}, set()
    for name, down, up in layers(source.state):
        theirs = _THEIRS + name.removeprefix(_OURS)
        tensors[f"{theirs}.lora_A.weight"] = down.contiguous()
        tensors[f"{theirs}.lora_B.weight"] = up.contiguous()
        targets.add(name.rpartition(".")[2])
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base_model,
        "r": source.spec.rank,
        "lora_alpha": source.spec.alpha,
        "lora_dropout": source.spec.dropout,
        "target_modules": sorted(targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "task_type": None,
    }
    write_atomically(out / "adapter_model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_atomically(out / "adapter_config.json", (json.dumps(config, indent=2) + "\n").encode())

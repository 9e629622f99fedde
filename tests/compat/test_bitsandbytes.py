"""bitsandbytes is loaded without the compiler, and torch keeps its own."""

import subprocess
import sys


def test_neither_loading_nor_using_it_loads_the_compiler() -> None:
    code = (
        "import sys, torch\n"
        "compiler = torch.compile\n"
        "from saml.compat.bitsandbytes import functional\n"
        "bnb = functional()\n"
        "codes, state = bnb.quantize_4bit(torch.randn(64, 2), quant_type='nf4', compress_statistics=True)\n"
        "bnb.dequantize_4bit(codes, state)\n"
        "assert torch.compile is compiler\n"
        "assert bnb.__name__ == 'bitsandbytes.functional'\n"
        "print('torch._inductor.compile_fx' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"

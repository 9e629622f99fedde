"""Our dropout on a CPU beside torch.nn.Dropout: forward and backward, in training.

The default shape is a batch of eight utterances of 78 frames before a feed-forward linear of the default
experiment, where a LoRA's dropout costs more than its products.
"""

from collections.abc import Callable, Sequence

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("--shape", type=int, nargs="+", default=[8, 78, 576], help="of the input (8 78 576)")
    parser.add_argument("--rate", type=float, default=0.2, help="of dropout (0.2)")
    parser.add_argument("--calls", type=int, default=100, help="forward and backward passes a round (100)")
    options = parser.parse_args(given)
    prepare(options)
    import torch

    from saml.adapters.cpu_kernels import Dropout

    torch.set_num_threads(options.threads)
    x = torch.randn(options.shape, device=options.device, requires_grad=True)

    def epochs(layer: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            for _ in range(options.calls):
                layer(x).sum().backward()
                x.grad = None

        return run

    contenders = {"torch.nn.Dropout": torch.nn.Dropout(options.rate), "ours": Dropout(options.rate)}
    timings = interleave(
        {name: epochs(layer.train()) for name, layer in contenders.items()}, repeats=options.repeats
    )
    report = Report("dropout", "what does drawing 16 bits an element save?", options)
    report.compare(f"{options.calls} calls at {tuple(options.shape)}", timings, reference="torch.nn.Dropout")
    report.finish()


if __name__ == "__main__":
    main()

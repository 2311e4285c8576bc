"""mtx as a decoder, loaded and called as by `mtx translate`.

usage: PYTHON mtx_decode.py MODEL_FOLDER SOURCE --precision fp32 --device cpu   (threads: OMP_NUM_THREADS)
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.decoder_worker import Translate, serve_decoder
from scripts.bench.worker import claim_stdout


def main() -> None:
    """Serve until the end of stdin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    claim_stdout()

    import mtx
    from mtx.cli.options import load_translator

    def make(beam: int, batch_tokens: int) -> Translate:
        given = {"beam_size": beam, "batch_tokens": batch_tokens}
        translator = load_translator(options.model, given, options.precision, options.device)

        def translate(lines: Sequence[str]) -> tuple[list[str], int]:
            translations = translator.translate(lines)
            return [t.tgt for t in translations], sum(t.num_tokens for t in translations)

        return translate

    serve_decoder(make, options.source, {"version": mtx.__version__})


if __name__ == "__main__":
    main()

"""CTranslate2 as a decoder of the same weights.

usage: PYTHON ctranslate2_decode.py MODEL_FOLDER SOURCE --converted FOLDER --compute-type float32 --device cpu
Converts the model unless FOLDER exists.
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
    parser.add_argument("--converted", type=Path, required=True)
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    claim_stdout()

    import ctranslate2

    from scripts.bench.weights import load_pieces, longest_output, read_decoding, to_ctranslate2

    if not options.converted.exists():
        to_ctranslate2(options.model, options.converted)
    src_pieces, tgt_pieces = load_pieces(options.model)
    decoding = read_decoding(options.model)

    def make(beam: int, workers: int, threads: int, batch: int, unit: str) -> Translate:
        translator = ctranslate2.Translator(
            str(options.converted),
            device=options.device,
            compute_type=options.compute_type,
            inter_threads=workers,
            intra_threads=threads,
        )

        def translate(lines: Sequence[str]) -> tuple[list[str], int]:
            sources = src_pieces.encode(list(lines), out_type=str)
            # One limit for all sentences, that of the longest; translations of a trained model end earlier.
            results = translator.translate_batch(
                sources,
                beam_size=beam,
                length_penalty=decoding["length_penalty"],
                max_decoding_length=longest_output(decoding, max(map(len, sources))),
                max_batch_size=batch,
                batch_type=unit,
            )
            hypotheses = [result.hypotheses[0] for result in results]
            return tgt_pieces.decode(hypotheses), sum(len(hypothesis) + 1 for hypothesis in hypotheses)

        return translate

    serve_decoder(make, options.source, {"version": ctranslate2.__version__})


if __name__ == "__main__":
    main()

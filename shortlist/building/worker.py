"""One worker process of a build: ``python -m shortlist.building.worker``, which encodes what its parent sends.

Parent and worker talk over one socket, in JSON and raw float32 (ADR 0005). The worker says when its encoder is open,
then which text it is at and what it has done, batch by batch, and answers every segment with its vectors or with an
error. It ends when the parent does: the socket is closed then, and the kernel ends one that does not read it.
"""

import json
import resource
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from indexing.errors import EnvironmentProblem, ShortlistError, VectorError
from indexing.types import FloatMatrix
from retrieval.config import Backend, EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from shortlist.building.worker_process import end_with_parent
from shortlist.probe import error_type
from shortlist.product_vectors import encode_checked

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def main(descriptor: int) -> int:
    """Encode until the parent closes the socket, and return the exit code."""
    from multiprocessing.connection import Connection

    end_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Connection(descriptor) as connection:
        try:
            _serve(connection)
        except (EOFError, ConnectionError):
            return 0
    return 1


def send(connection: "Connection[Any, Any]", message: dict[str, Any]) -> None:
    """Send one message."""
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: "Connection[Any, Any]") -> dict[str, Any]:
    """Wait for one message.

    Raises:
        EOFError, OSError: The other side is gone.
    """
    message: dict[str, Any] = json.loads(connection.recv_bytes())
    return message


def write_runtime(runtime: RuntimeConfig) -> dict[str, Any]:
    """Return the JSON form of what a worker's model is opened with."""
    values = {"device": runtime.device, "threads": runtime.threads, "batch_tokens": runtime.batch_tokens}
    return values | {"precision": runtime.precision.name, "backend": runtime.backend.name}


def _read_runtime(values: dict[str, Any]) -> RuntimeConfig:
    chosen = {"precision": Precision[values["precision"]], "backend": Backend[values["backend"]]}
    return RuntimeConfig(**(values | chosen))


def _serve(connection: "Connection[Any, Any]") -> None:
    task = receive(connection)
    try:
        encoder = DualEncoder.open(EncoderConfig(**task["encoder"]), _read_runtime(task["runtime"]))
    except ShortlistError as error:
        _send_error(connection, error)
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to say it
        _send_error(connection, EnvironmentProblem(f"the encoder does not open: {type(error).__name__}: {error}"))
        return
    send(connection, {"ready": encoder.lane.description})
    while True:
        _answer(connection, encoder, receive(connection)["texts"], task["dim"])


def _answer(connection: "Connection[Any, Any]", encoder: DualEncoder, texts: Sequence[str], dim: int) -> None:
    """Encode one segment as one process does, and send what came of it."""
    places = {text: place for place, text in enumerate(texts)}  # a part of them may be encoded by itself

    def encode(part: Sequence[str]) -> FloatMatrix:
        return encoder.encode_products(
            part,
            progress=lambda count: send(connection, {"encoded": count}),
            under_way=lambda place: send(connection, {"at": places[part[place]]}),
        )

    def owners(positions: Sequence[int]) -> list[str]:  # the parent has the products
        send(connection, {"owners": [int(position) for position in positions]})
        return list(receive(connection)["names"])

    try:
        vectors = encode_checked(encode, texts, dim=dim, owners=owners)
    except ShortlistError as error:
        _send_error(connection, error)
        return
    send(connection, {"vectors": len(vectors)})
    connection.send_bytes(vectors.astype("<f4", copy=False).tobytes())


def _send_error(connection: "Connection[Any, Any]", error: ShortlistError) -> None:
    about = {"positions": error.positions, "names": error.names} if isinstance(error, VectorError) else {}
    send(connection, {"error": {"code": error.code, "message": str(error), **about}})


def read_error(values: dict[str, Any]) -> ShortlistError:
    """Return the error that a worker sent, of the type it had there."""
    if values["code"] == VectorError.code:
        return VectorError(values["message"], positions=values["positions"], names=values["names"])
    return error_type(values["code"])(values["message"])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

"""What people write in place of vlad: camera in, resize, model, command out, one after the other; no safety.

`python -m tools.benchmarks.script SENSORS COMMANDS MODEL`: serves these endpoints until it is terminated.
"""

from __future__ import annotations

import struct
import sys
import time

import cv2
import numpy as np
import onnxruntime as ort
import zmq

from vlad.messages import Image
from vlad.wire import decode_sample

COMMAND = struct.Struct("<qq")
"""When the frame was received, and how long the model ran on it [ns]."""


def main() -> None:
    sensors, commands, path = sys.argv[1:]
    context = zmq.Context()
    camera, motor = context.socket(zmq.SUB), context.socket(zmq.PUB)
    camera.subscribe(b"camera")
    camera.bind(sensors)
    motor.bind(commands)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (image,) = model.get_inputs()
    height, width = image.shape[2:]
    while True:
        camera.poll()
        received_ns = time.monotonic_ns()
        frames = [frame.buffer for frame in camera.recv_multipart(copy=False)]
        sample = decode_sample(frames, received_ns, time.time_ns(), "image")
        assert isinstance(sample.data, Image)
        small = cv2.resize(sample.data.pixels, (width, height))
        pixels = (small.astype(np.float32) / 255 - 0.5) / 0.25
        began_ns = time.monotonic_ns()
        model.run(None, {image.name: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])})
        model_ns = time.monotonic_ns() - began_ns
        motor.send_multipart([b"command", COMMAND.pack(received_ns, model_ns)])


if __name__ == "__main__":
    main()

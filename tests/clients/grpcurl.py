"""Does what `grpcurl` does with the flags that docs/api.md shows, by reflection alone: this machine has no Go.

    python grpcurl.py [-plaintext] [-cacert FILE] [-cert FILE -key FILE] [-H 'NAME: VALUE'] [-d JSON|@] HOST:PORT VERB

VERB is `list`, `describe NAME` or `package.Service/Method`. Replies are printed as JSON, one after the other; a status
that is not OK is told on standard error and ends with 1. `jobs/019...` stands for the job that was made last.
"""

import json
import os
import sys
from pathlib import Path

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PLACEHOLDER = "jobs/019..."


def arguments(words):
    flags, rest = {"-H": []}, []
    words = iter(words)
    for word in words:
        if word == "-plaintext":
            flags[word] = True
        elif word == "-H":
            flags[word].append(next(words))
        elif word in ("-d", "-cacert", "-cert", "-key"):
            flags[word] = next(words)
        elif word.startswith("-"):
            sys.exit(f"unknown flag {word}")
        else:
            rest.append(word)
    return flags, rest


def connect(flags, address):
    size = [("grpc.max_receive_message_length", 32 << 20), ("grpc.max_send_message_length", 32 << 20)]
    if flags.get("-plaintext"):
        return grpc.insecure_channel(address, options=size)
    read = lambda name: Path(flags[name]).read_bytes() if name in flags else None
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(read("-cacert"), read("-key"), read("-cert")), size)


def main():
    flags, rest = arguments(sys.argv[1:])
    address, verb, *name = rest
    metadata = [tuple(part.strip() for part in header.split(":", 1)) for header in flags["-H"]]
    metadata = [(key.lower(), value) for key, value in metadata]
    channel = connect(flags, address)
    reflection = ProtoReflectionDescriptorDatabase(channel)
    if metadata:
        ask = reflection._stub.ServerReflectionInfo
        reflection._stub.ServerReflectionInfo = lambda requests: ask(requests, metadata=metadata)
    if verb == "list":
        print("\n".join(sorted(reflection.get_services())))
        return
    pool = DescriptorPool(reflection)
    if verb == "describe":
        print(pool.FindMessageTypeByName(name[0]).full_name)
        return
    service, method = verb.split("/")
    found = pool.FindServiceByName(service).FindMethodByName(method)
    kind = lambda streams: "stream" if streams else "unary"
    answer_class = message_factory.GetMessageClass(found.output_type)
    call = getattr(channel, f"{kind(found.client_streaming)}_{kind(found.server_streaming)}")(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer_class.FromString,
    )
    data = flags.get("-d", "{}")
    data = sys.stdin.read() if data == "@" else data
    made = Path(os.environ.get("GRPCURL_LAST_JOB", ".last-job"))
    if PLACEHOLDER in data:
        data = data.replace(PLACEHOLDER, made.read_text())
    request = json_format.Parse(data, message_factory.GetMessageClass(found.input_type)(), descriptor_pool=pool)
    request = iter([request]) if found.client_streaming else request
    answer = call(request, timeout=120, metadata=metadata)
    for one in answer if found.server_streaming else [answer]:
        text = json_format.MessageToJson(one, descriptor_pool=pool)
        print(text)
        if found.output_type.full_name == "pairwright.v1.Job":
            made.write_text(json.loads(text)["name"])


try:
    main()
except grpc.RpcError as error:
    sys.exit(f"ERROR:\n  Code: {error.code().name}\n  Message: {error.details()}")

"""Writes the modules that `protoc` would make of a file of descriptors, so that the page's Python runs as it stands.

    python stubs.py DESCRIPTORS FOLDER
"""

import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

MODULE = """from google.protobuf import descriptor_pool, {imports}
from google.protobuf.internal import builder
DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({data!r})
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, {name!r}, globals())
"""


def module_of(name: str) -> str:
    return name.removesuffix(".proto") + "_pb2"


def main():
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes()).file
    folder = Path(sys.argv[2])
    types = {f".{file.package}.{message.name}": module_of(file.name).replace("/", ".") for file in files for message in file.message_type}
    types[".google.protobuf.Empty"] = "google.protobuf.empty_pb2"
    for file in files:
        if file.name.startswith("google/protobuf/"):
            continue
        needed = [module_of(name).replace("/", ".") for name in file.dependency]
        path = folder / (module_of(file.name) + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        imports = "".join(f"import {name}\n" for name in needed)
        module = MODULE.format(imports="symbol_database", data=file.SerializeToString(), name=module_of(file.name).replace("/", "."))
        path.write_text(imports + module)
        if not file.service:
            continue
        lines = [f"import {name}" for name in sorted({*types.values()})]
        for service in file.service:
            lines.append(f"class {service.name}Stub:\n    def __init__(self, channel):")
            for method in service.method:
                kind = lambda streams: "stream" if streams else "unary"
                of = lambda name: f"{types[name]}.{name.rsplit('.', 1)[1]}"
                lines.append(
                    f"        self.{method.name} = channel.{kind(method.client_streaming)}_{kind(method.server_streaming)}("
                    f"'/{file.package}.{service.name}/{method.name}', {of(method.input_type)}.SerializeToString, "
                    f"{of(method.output_type)}.FromString)"
                )
        (folder / (module_of(file.name) + "_grpc.py")).write_text("\n".join(lines) + "\n")


main()

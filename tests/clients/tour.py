"""Calls every method of a running Pairwright server, knowing nothing of it but what reflection tells.

    python tour.py HOST:PORT --photo FILE [--path NAME] [--source DIR] [--describe]

Prints one JSON object with what came back, for tests/service/clients.rs to check.
"""

import argparse
import json
import time

import grpc
from google.protobuf import json_format, message_factory, symbol_database
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Server:
    """Stubs made from reflection alone; with a key, on this machine only."""

    def __init__(self, address: str, key: str = ""):
        size = [("grpc.max_receive_message_length", 32 << 20), ("grpc.max_send_message_length", 32 << 20),
                # A connection of its own, not one with every other channel of this process.
                ("grpc.use_local_subchannel_pool", 1)]
        if key:
            bearer = grpc.access_token_call_credentials(key)
            credentials = grpc.composite_channel_credentials(grpc.local_channel_credentials(), bearer)
            self.channel = grpc.secure_channel(address, credentials, options=size)
        else:
            self.channel = grpc.insecure_channel(address, options=size)
        self.reflection = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.reflection)

    def services(self):
        return sorted(self.reflection.get_services())

    def describe(self, message: str):
        found = self.pool.FindMessageTypeByName(message)
        return [(field.name, field.number) for field in found.fields]

    def call(self, method: str, *requests, **kwargs):
        """Calls `Service/Method` with dicts and returns a dict, or a list of them from a stream."""
        service, name = method.split("/")
        found = self.pool.FindServiceByName(f"pairwright.v1.{service}").FindMethodByName(name)
        request_class = message_factory.GetMessageClass(found.input_type)
        answer_class = message_factory.GetMessageClass(found.output_type)
        shape = ("stream" if found.client_streaming else "unary") + "_" + ("stream" if found.server_streaming else "unary")
        stub = getattr(self.channel, shape)(
            f"/pairwright.v1.{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer_class.FromString,
        )
        messages = [json_format.ParseDict(request, request_class()) for request in requests]
        answer = stub(iter(messages) if found.client_streaming else messages[0], timeout=60, **kwargs)
        show = lambda message: json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=self.pool)
        return [show(one) for one in answer] if found.server_streaming else show(answer)


def tour(server: Server, args) -> dict:
    """One call of each method; later ones use what earlier ones answered."""
    import base64

    photo = {"content": base64.b64encode(open(args.photo, "rb").read()).decode()}
    seen = {}

    def call(method, *requests):
        seen[method] = server.call(method, *requests)
        return seen[method]

    call("InfoService/GetServerInfo", {})
    call("EmbeddingService/EmbedImages", {"images": [photo, {"path": args.path}, {"content": ""}]})
    vector = seen["EmbeddingService/EmbedImages"]["results"][0]["embedding"]["vector"]
    call("EmbeddingService/EmbedTexts", {"texts": ["A cat on a sofa.", "Write a poem."]})
    call(
        "EmbeddingService/EmbedStream",
        {"correlation_id": "a", "image": photo},
        {"correlation_id": "b", "text": "A cat on a sofa."},
        {"correlation_id": "c"},
    )
    call("InstructionService/CreateInstruction", {"instruction_id": "tour-1", "instruction": {"text": "Write a tour guide's speech about the place in the image."}})
    call("InstructionService/BatchCreateInstructions", {"requests": [
        {"instruction": {"text": "Write a limerick about the image.", "category": "tour"}},
        {"instruction": {"text": " "}},
    ]})
    call("InstructionService/GetInstruction", {"name": "instructions/tour-1", "include_embedding": True})
    call("InstructionService/ListInstructions", {"page_size": 3})
    call("InstructionService/SearchInstructions", {"text": "a poem", "top_k": 3})
    call("MatchingService/Match", {"queries": [{"id": "q", "image": photo, "caption": "A photo."}, {"id": "v", "image_embedding": vector}], "options": {"per_image": 2, "seed": "7"}})
    call("MatchingService/MatchStream", {"options": {"seed": "7"}}, {"query": {"id": "q", "image": photo}}, {"query": {"id": "none"}})
    job = call("MatchingService/BatchMatch", {"source": {"path": args.source}, "options": {"seed": "7"}, "request_id": "tour"})
    call("JobService/WatchJob", {"name": job["name"]})
    call("JobService/GetJob", {"name": job["name"]})
    call("JobService/ListJobs", {})
    call("JobService/ListJobPairs", {"name": job["name"], "page_size": 5})
    call("JobService/CancelJob", {"name": job["name"]})
    try:
        server.call("JobService/ResumeJob", {"name": job["name"]})
    except grpc.RpcError as error:
        seen["JobService/ResumeJob"] = {"code": error.code().name}
    call("MatchingService/SearchImages", {"job": job["name"], "text": "an animal", "top_k": 3})
    call("AnswerService/GenerateAnswer", {"pair": {"description": "A brown dog runs over a meadow with a red ball.", "instruction_text": "Write a short diary entry of the animal."}, "options": {"max_attempts": 1}})
    call("AnswerService/AnswerPairs", {"correlation_id": "p", "pair": {"description": "A brown dog on a meadow.", "instruction": "instructions/tour-1"}, "options": {"max_attempts": 1}}, {"correlation_id": "bad"})
    made = call("InstructionService/Generate", {"source": {"path": args.source}, "cluster_count": 3, "seed": "7", "add_to_library": True})
    server.call("JobService/WatchJob", {"name": made["name"]})
    call("JobService/ListJobInstructions", {"name": made["name"], "page_size": 2})
    files = {"questions": "q.jsonl", "first_answers": "a.jsonl", "second_answers": "b.jsonl"}
    judged = [call("EvaluationService/Judge", {**files, "seed": seed}) for seed in ("1", "2")]
    for one in judged:
        server.call("JobService/WatchJob", {"name": one["name"]})
    call("JobService/ListJobVerdicts", {"name": judged[0]["name"]})
    call("EvaluationService/GetEvaluation", {"job": judged[0]["name"]})
    call("EvaluationService/Compare", {"job": judged[0]["name"], "other_job": judged[1]["name"]})
    call("InstructionService/DeleteInstruction", {"name": "instructions/tour-1"})
    return seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--photo", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--source", required=True)
    args = parser.parse_args()
    server = Server(args.address)
    health = health_pb2_grpc.HealthStub(server.channel)
    names = server.services()
    status = lambda name: health_pb2.HealthCheckResponse.ServingStatus.Name(
        health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
    )
    print(json.dumps({
        "services": names,
        "health": {name: status(name) for name in ["", *(n for n in names if n.startswith("pairwright."))]},
        "match_request": server.describe("pairwright.v1.MatchRequest"),
        "calls": tour(server, args),
    }))


if __name__ == "__main__":
    main()

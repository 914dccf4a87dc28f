//! The contract cannot change unnoticed: its descriptors are kept as text, and the image that
//! `buf breaking` compares with is kept beside it.

use std::fmt::Write;

use pairwright::server::pb::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

fn field_type(field: &prost_types::FieldDescriptorProto) -> String {
    let named = field.type_name().trim_start_matches('.');
    let scalar = || format!("{:?}", field.r#type()).to_lowercase();
    match field.r#type() {
        Type::Message | Type::Enum => named.to_owned(),
        _ => scalar(),
    }
}

fn message(out: &mut String, indent: usize, message: &DescriptorProto) {
    let pad = " ".repeat(indent);
    writeln!(out, "{pad}message {}", message.name()).expect("text");
    for field in &message.field {
        let label = match (field.label(), field.proto3_optional()) {
            (Label::Repeated, _) => "repeated ",
            (_, true) => "optional ",
            _ => "",
        };
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
        let oneof =
            oneof.map(|index| format!(" oneof {}", message.oneof_decl[index as usize].name()));
        let kind = field_type(field);
        writeln!(
            out,
            "{pad}  {label}{kind} {} = {}{}",
            field.name(),
            field.number(),
            oneof.unwrap_or_default()
        )
        .expect("text");
    }
    message.enum_type.iter().for_each(|one| enumeration(out, indent + 2, one));
    message.nested_type.iter().for_each(|one| self::message(out, indent + 2, one));
}

fn enumeration(out: &mut String, indent: usize, one: &EnumDescriptorProto) {
    let pad = " ".repeat(indent);
    writeln!(out, "{pad}enum {}", one.name()).expect("text");
    for value in &one.value {
        writeln!(out, "{pad}  {} = {}", value.name(), value.number()).expect("text");
    }
}

fn file(out: &mut String, file: &FileDescriptorProto) {
    writeln!(out, "file {}", file.name()).expect("text");
    for service in &file.service {
        writeln!(out, "service {}", service.name()).expect("text");
        for method in &service.method {
            let stream = |streams| if streams { "stream " } else { "" };
            writeln!(
                out,
                "  {}({}{}) -> {}{}",
                method.name(),
                stream(method.client_streaming()),
                method.input_type().trim_start_matches('.'),
                stream(method.server_streaming()),
                method.output_type().trim_start_matches('.'),
            )
            .expect("text");
        }
    }
    file.message_type.iter().for_each(|one| message(out, 0, one));
    file.enum_type.iter().for_each(|one| enumeration(out, 0, one));
}

#[test]
fn the_contract_is_the_one_that_was_reviewed() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    let mut text = String::new();
    let mut ours: Vec<_> =
        set.file.iter().filter(|file| file.package() == "pairwright.v1").collect();
    ours.sort_by_key(|file| file.name().to_owned());
    ours.into_iter().for_each(|one| file(&mut text, one));
    insta::assert_snapshot!(text);
}

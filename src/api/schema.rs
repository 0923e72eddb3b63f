//! Schemas of values that are texts: how long they may be and what they look like. Every list and text has a bound, or
//! else the API server refuses the rules over them as too costly.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// Entries of an address list, and characters of one.
const MAX_NETWORKS: u32 = 4096;
const MAX_NETWORK: u32 = 49;

/// `[A-Za-z0-9]` and what else RFC 9110 allows in a token.
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 28,
        "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        "x-kubernetes-validations": [{
            "rule": "duration(self) > duration('0s')",
            "message": "a duration must be longer than 0s; write it as 500ms, 5s or 1h30m"
        }]
    })
}

pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 14, "pattern": "^[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti|k|M|G|T)?$"
    })
}

pub(super) fn networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_NETWORKS,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "minLength": 2, "maxLength": MAX_NETWORK},
        "x-kubernetes-validations": [{
            "rule": "self.all(entry, isCIDR(entry) || isIP(entry))",
            "message": "each entry must be an address or a network, as 10.0.0.0/8 or 2001:db8::/32"
        }]
    })
}

pub(super) fn methods(_: &mut SchemaGenerator) -> Schema {
    list(32, json_schema!({"type": "string", "minLength": 1, "maxLength": 32, "pattern": "^[A-Z]+(-[A-Z]+)*$"}))
}

pub(super) fn field_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": TOKEN})
}

pub(super) fn field_names(generator: &mut SchemaGenerator) -> Schema {
    list(32, field_name(generator))
}

pub(super) fn statuses(_: &mut SchemaGenerator) -> Schema {
    list(
        16,
        json_schema!({
            "type": "string", "minLength": 3, "maxLength": 7, "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"
        }),
    )
}

pub(super) fn retry_on(_: &mut SchemaGenerator) -> Schema {
    list(
        16,
        json_schema!({
            "type": "string", "minLength": 3, "maxLength": 14, "pattern": "^(ConnectFailure|Reset|[45][0-9]{2})$"
        }),
    )
}

pub(super) fn path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^/[!$-;=?-_a-~]*$"})
}

/// A name that an object can have (RFC 1123 subdomain).
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    })
}

/// A DNS name in lower case, perhaps with a port.
pub(super) fn host(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$"
    })
}

pub(super) fn server_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[a-z0-9:]([a-z0-9.:-]*[a-z0-9:])?$"
    })
}

/// As apimachinery has it.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string", "minLength": 1, "maxLength": 316}
            }
        }
    })
}

/// Takes "may be null" out of every part of a definition. The API server drops a null where it is not allowed, as if the
/// field were absent; where it is allowed, rules would see it.
pub(super) fn without_null(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            fields.remove("nullable");
            if let Some(Value::Array(values)) = fields.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            fields.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn list(max: u32, items: Schema) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": max, "x-kubernetes-list-type": "atomic", "items": items
    })
}

//! The keys of `[[service]]` about what is written down of requests, and what they are called.

use l7::log::Format;

use super::super::model::{AccessLog, Naming, RequestId};
use super::super::reader::{Item, Reader, Table};
use super::super::value;

const REQUEST_IDS: [(&str, RequestId); 3] =
    [("off", RequestId::Off), ("pass", RequestId::Pass), ("create", RequestId::Create)];

pub(super) fn access_log(r: &mut Reader, item: &Item<'_>) -> Option<AccessLog> {
    let mut table = item.table(r)?;
    let format = table.take(r, "format");
    let format = format.map(|item| item.parse(r, value::log_format));
    let path = table.require(r, "path", "\"access.log\"");
    let path = path.and_then(|item| item.parse(r, value::path));
    table.finish(r);
    let format = match format {
        None => Format::combined(),
        Some(format) => format?.value,
    };
    Some(AccessLog { format, path: path? })
}

pub(super) fn naming(r: &mut Reader, table: &mut Table<'_>) -> Naming {
    let request_id = table.take(r, "request-id");
    let request_id =
        request_id.and_then(|item| item.choice(r, "a way to name requests", &REQUEST_IDS));
    let trace = table.take(r, "trace-context").and_then(|item| item.boolean(r));
    Naming {
        request_id: request_id.map(|choice| choice.value).unwrap_or_default(),
        trace: trace.is_some_and(|trace| trace.value),
    }
}

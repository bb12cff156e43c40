//! Writes to an agent's memory: memory tools of MCP servers, vector stores over HTTP. What stands there steers later conversations, so
//! they have a kind of their own. Reads stay what they are.

use super::words::{READS, words};

/// Words in the names of memory tools.
const NAMES: &[&str] = &["memory", "memories", "memorize", "remember", "mem0", "embedding", "embeddings", "vector", "vectors"];

/// Words in the names of servers whose every tool works on memory: `create_entities` of a memory server says it of itself.
const SERVERS: &[&str] = &["memory", "mem0", "zep", "letta", "qdrant", "chroma", "pinecone", "weaviate", "milvus"];

/// Path segments of the stores, each with those that follow where something is written: Pinecone, Qdrant, Chroma, Weaviate, Milvus,
/// mem0, OpenAI's vector stores.
const WRITES: &[(&str, &[&str])] = &[
    ("vectors", &["upsert", "update", "delete"]),
    ("points", &["", "batch", "delete", "payload", "vectors"]),
    ("collections", &["add", "upsert", "update", "delete"]),
    ("objects", &[""]),
    ("entities", &["insert", "upsert", "delete"]),
    ("memories", &[""]),
    ("vector_stores", &["", "files", "file_batches"]),
];

/// Stores whose path alone says too little.
const STORES: &[&str] = &["points", "objects", "entities", "collections"];

/// A call of a tool writes to memory, by its name and that of its server.
pub(super) fn writes(tool: &str, server: Option<&str>) -> bool {
    let name = words(tool);
    let reads = name.iter().any(|word| READS.contains(&word.as_str()) || word == "recall" || word == "open");
    let named = |words: &[String], known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    !reads && (named(&name, NAMES) || server.is_some_and(|server| named(&words(server), SERVERS)))
}

/// A request writes to a vector store, by its method, host and path.
pub(super) fn stores(method: &str, host: &str, path: &str) -> bool {
    if !matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") {
        return false;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let last = parts.last().copied().unwrap_or_default();
    let Some((at, (segment, verbs))) =
        (0..parts.len()).rev().find_map(|at| Some((at, WRITES.iter().find(|(name, _)| *name == parts[at])?)))
    else {
        return false;
    };
    let verb = if at + 1 == parts.len() { "" } else { last };
    // A single record by its id is written by PUT, PATCH and DELETE.
    let single = at + 2 == parts.len() && method != "POST" && verbs.contains(&"");
    let sure = !STORES.contains(segment)
        || words(host).iter().any(|word| SERVERS.contains(&word.as_str()))
        || parts[..at].iter().any(|part| matches!(*part, "collections" | "vectordb"));
    sure && (verbs.contains(&verb) || single)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known_by_its_tools_and_stores() {
        for (tool, server, expected) in [
            ("save_memory", None, true),
            ("add_memories", None, true),
            ("search_memories", None, false),
            ("remember", None, true),
            ("create_entities", Some("memory-server"), true),
            ("read_graph", Some("memory-server"), false),
            ("create_entities", Some("crm"), false),
            ("upsert_vectors", None, true),
        ] {
            assert_eq!(writes(tool, server), expected, "{tool} {server:?}");
        }
        for (method, host, path, expected) in [
            ("POST", "index.svc.pinecone.io", "/vectors/upsert", true),
            ("POST", "index.svc.pinecone.io", "/query", false),
            ("PUT", "qdrant:6333", "/collections/notes/points", true),
            ("POST", "localhost:6333", "/collections/notes/points/search", false),
            ("POST", "localhost:6333", "/collections/notes/points/delete", true),
            ("POST", "chroma:8000", "/api/v2/tenants/t/databases/d/collections/1f/add", true),
            ("POST", "chroma:8000", "/api/v1/collections/1f/query", false),
            ("POST", "localhost:19530", "/v2/vectordb/entities/insert", true),
            ("POST", "weaviate:8080", "/v1/objects", true),
            ("POST", "api.mem0.ai", "/v1/memories", true),
            ("GET", "api.mem0.ai", "/v1/memories", false),
            ("DELETE", "api.mem0.ai", "/v1/memories/7", true),
            ("POST", "api.openai.com", "/v1/vector_stores/vs_1/files", true),
            ("POST", "shop.example", "/v1/objects", false),
            ("POST", "shop.example", "/collections/summer/add", false),
        ] {
            assert_eq!(stores(method, host, path), expected, "{method} {host}{path}");
        }
    }
}

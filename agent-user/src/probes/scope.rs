//! Who is watched.

use std::sync::Arc;

use regex::Regex;

use crate::capture::Exec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Auto,
    Match,
    All,
}

/// A process is selected when any entry matches it.
#[derive(Clone, Debug, Default)]
pub struct Selectors {
    /// Globs, compiled.
    pub exe: Vec<Regex>,
    pub argv: Vec<Regex>,
    pub cgroup: Vec<Regex>,
    pub users: Vec<u32>,
    pub env: Vec<String>,
}

impl Selectors {
    /// `marked` looks for [`Selectors::env`] in the environment of a process.
    pub(super) fn select(&self, exec: &Exec, marked: &dyn Fn(u32) -> bool) -> bool {
        let matches = |globs: &[Regex], text: &str| globs.iter().any(|glob| glob.is_match(text));
        matches(&self.exe, &exec.exe)
            || exec.argv.expose_content().iter().any(|argument| matches(&self.argv, argument))
            || exec.cgroup.as_deref().is_some_and(|cgroup| matches(&self.cgroup, cgroup))
            || exec.uid.is_some_and(|uid| self.users.contains(&uid))
            || (!self.env.is_empty() && marked(exec.pid))
    }
}

/// Programs that are agents by name: base name of the executable or of a script argument.
const AGENT_PROGRAMS: &[&str] = &[
    "claude",
    "codex",
    "opencode",
    "gemini",
    "aider",
    "goose",
    "cursor-agent",
    "copilot",
    "amp",
    "crush",
    "qwen",
    "openhands",
    "swe-agent",
    "mini",
    "open-interpreter",
    "interpreter",
    "autogpt",
    "kiro-cli",
    "plandex",
    "continue",
    "cline",
    "droid",
];

/// Hosts of model providers; a name below one counts, too.
const MODEL_HOSTS: &[&str] = &[
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "aiplatform.googleapis.com",
    "api.mistral.ai",
    "api.cohere.com",
    "api.cohere.ai",
    "api.groq.com",
    "api.together.xyz",
    "api.deepseek.com",
    "api.x.ai",
    "api.perplexity.ai",
    "api.fireworks.ai",
    "openrouter.ai",
    "api.cerebras.ai",
    "inference.ai.azure.com",
    "openai.azure.com",
    "services.ai.azure.com",
    "models.github.ai",
    "models.inference.ai.azure.com",
    "api.githubcopilot.com",
    "dashscope.aliyuncs.com",
    "api.moonshot.ai",
    "api.z.ai",
    "router.huggingface.co",
    "api-inference.huggingface.co",
    "api.replicate.com",
    "api.sambanova.ai",
    "integrate.api.nvidia.com",
    "chatgpt.com",
];

/// Paths that only model, MCP and A2A servers have, whatever their host: gateways and local models.
const MODEL_PATHS: &[&str] = &[
    "/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/v1/completions",
    ":generateContent",
    ":streamGenerateContent",
    "/converse",
    "/converse-stream",
    "/invoke-with-response-stream",
    "/api/chat",
    "/api/generate",
    "/v2/chat",
    "/.well-known/agent-card.json",
    "/.well-known/agent.json",
];

/// Words of JSON-RPC bodies that only MCP and A2A clients send.
const PROTOCOL_WORDS: &[&str] =
    &["\"tools/call\"", "\"tools/list\"", "\"initialize\"", "\"message/send\"", "\"message/stream\"", "\"SendMessage\""];

/// True when the name or a script argument is that of a known agent.
pub(super) fn is_agent_program(exec: &Exec) -> bool {
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let argv = exec.argv.expose_content();
    let named = |path: &Arc<str>| AGENT_PROGRAMS.contains(&base(path).trim_end_matches(".js").trim_end_matches(".py"));
    named(&exec.exe) || argv.iter().take(3).any(named)
}

pub(super) fn is_model_host(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let bedrock = name.starts_with("bedrock") && name.contains(".amazonaws.com");
    bedrock
        || MODEL_HOSTS.iter().any(|host| {
            name == *host || name.strip_suffix(host).is_some_and(|front| front.ends_with('.') || front.ends_with('-'))
        })
}

/// True when the first bytes of a connection speak to a model, MCP or A2A server. Looks at the head and a little of the body.
pub(super) fn speaks_as_agent(start: &[u8]) -> bool {
    const LOOKED_AT: usize = 4096;
    let text = String::from_utf8_lossy(&start[..start.len().min(LOOKED_AT)]);
    let line = text.lines().next().unwrap_or_default();
    let path = line.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    if MODEL_PATHS.iter().any(|known| path.ends_with(known)) {
        return true;
    }
    let host = text
        .lines()
        .skip(1)
        .find_map(|line| line.get(..5).filter(|name| name.eq_ignore_ascii_case("host:")).map(|_| line[5..].trim()));
    if host.is_some_and(|host| is_model_host(host.split(':').next().unwrap_or_default())) {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    lower.contains("\nmcp-protocol-version:")
        || lower.contains("\nmcp-session-id:")
        || (text.contains("\"jsonrpc\"") && PROTOCOL_WORDS.iter().any(|word| text.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_hosts_are_known_with_their_subdomains() {
        for (host, known) in [
            ("api.openai.com", true),
            ("API.OpenAI.com.", true),
            ("my-resource.openai.azure.com", true),
            ("us-central1-aiplatform.googleapis.com", true),
            ("bedrock-runtime.us-east-1.amazonaws.com", true),
            ("evilapi.openai.com.example", false),
            ("example.com", false),
            ("notapi.openai.com", false),
        ] {
            assert_eq!(is_model_host(host), known, "{host}");
        }
    }

    #[test]
    fn first_bytes_tell_an_agent() {
        for (start, agent) in [
            ("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", true),
            ("POST /proxy/anthropic/v1/messages?beta=true HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nhost: api.anthropic.com:443\r\n\r\n", true),
            ("POST /mcp HTTP/1.1\r\nHost: x\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}", true),
            ("POST /mcp HTTP/1.1\r\nMcp-Session-Id: 1\r\n\r\n", true),
            ("GET /index.html HTTP/1.1\r\nHost: example.com\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(speaks_as_agent(start.as_bytes()), agent, "{start}");
        }
    }
}

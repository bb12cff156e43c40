// Messages as a package gives them to its transport and takes them from there.

// Notes what passes; `speaks` is who uses this end: client or server.
export function tapped(transport, speaks, note) {
  const other = speaks === "client" ? "server" : "client";
  const send = transport.send.bind(transport);
  transport.send = (message, options) => {
    note(speaks, message);
    return send(message, options);
  };
  let inner = transport;
  while (inner && !Object.getOwnPropertyDescriptor(inner, "onmessage")) inner = Object.getPrototypeOf(inner);
  const own = inner && Object.getOwnPropertyDescriptor(inner, "onmessage");
  const give = own?.set ? (handler) => own.set.call(transport, handler) : undefined;
  let current;
  const noted = (message, extra) => {
    note(other, message);
    return current(message, extra);
  };
  if (give) give(noted);
  Object.defineProperty(transport, "onmessage", {
    configurable: true,
    get: () => (current ? noted : undefined),
    set: (handler) => {
      current = handler === noted ? current : handler;
      if (give) give(noted);
    },
  });
  return transport;
}

// Requests with their answers, notifications alone.
export function pairs(said) {
  const rows = [];
  for (const [speaker, message] of said) {
    if (message.method) rows.push({ from: speaker, method: message.method, id: message.id, params: message.params ?? null });
    else {
      const row = rows.find((row) => row.from !== speaker && row.id === message.id && !("result" in row) && !("error" in row));
      if (row) Object.assign(row, message.error ? { error: message.error } : { result: message.result });
    }
  }
  return rows;
}

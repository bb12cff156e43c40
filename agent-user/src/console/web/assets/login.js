// A link from the daemon carries the token behind the `#`, which no server ever sees; and a page that was opened from another site
// comes without its cookie at first.
"use strict";

const token = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname);
if (token) {
  document.getElementById("token").value = token;
  document.querySelector("form").submit();
} else {
  // Who has logged in is sent on from here.
  fetch("/login", { redirect: "manual" }).then((answer) => { if (answer.type === "opaqueredirect") location.replace("/"); }).catch(() => {});
}

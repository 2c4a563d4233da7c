// What every page of Studio loads; each behaviour is one file and finds its hooks by data- attributes.
import "./theme.js";
import "./local-time.js";
import "./menu.js";
import "./toast.js";
import "./copy.js";
import "./confirm.js";
import "./palette.js";
import "./keep-open.js";
import "./live-refresh.js";
import "./live-state.js";
import "./event-tail.js";

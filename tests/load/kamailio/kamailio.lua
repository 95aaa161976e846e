-- The same routing and the same policy as `kamailio.cfg`, in Lua (KEMI).

local PREFIXES = "prefixes"
-- Is the PBX the registrar?
local RELAY = false

local function is_web()
	local proto = KSR.pv.get("$proto")
	return proto == "wss" or proto == "ws"
end

-- The request's part of the ten header rules.
local function edit_request()
	KSR.hdr.remove("X-Tenant")
	KSR.hdr.append("X-Tenant: acme\r\n")
	KSR.hdr.remove("X-Region")
	KSR.hdr.append("X-Region: eu-central\r\n")
	KSR.hdr.append("X-Trace: edge-1\r\n")
	KSR.hdr.remove("X-Internal")
	KSR.hdr.remove("User-Agent")
	KSR.hdr.remove("Organization")
	KSR.hdr.append("Organization: Acme\r\n")
	if KSR.hdr.is_present("X-Debug") > 0 then KSR.hdr.append("X-Debugged: yes\r\n") end
end

-- The response's part.
function edit_reply()
	KSR.hdr.remove("Server")
	KSR.hdr.append("Server: edge\r\n")
	KSR.hdr.remove("X-Powered-By")
	KSR.hdr.append("X-Edge: edge-1\r\n")
	return 1
end

local function relay()
	KSR.tm.t_on_reply("edit_reply")
	KSR.tm.t_relay()
	return 1
end

local function in_dialog()
	if KSR.rr.loose_route() > 0 then
		KSR.nathelper.handle_ruri_alias()
		edit_request()
		return relay()
	end
	if KSR.is_ACK() then
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
	else
		KSR.sl.sl_send_reply(404, "Not Here")
	end
	return 1
end

function ksr_request_route()
	if KSR.maxfwd.process_maxfwd(70) < 0 then
		KSR.sl.sl_send_reply(483, "Too Many Hops")
		return 1
	end
	local web = is_web()
	if web then
		KSR.force_rport()
		if KSR.is_REGISTER() then
			KSR.nathelper.fix_nated_register()
		else
			KSR.nathelper.add_contact_alias()
		end
	end
	if KSR.siputils.has_totag() > 0 then return in_dialog() end
	if KSR.is_ACK() or KSR.is_CANCEL() then
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	KSR.tm.t_check_trans()
	if KSR.is_REGISTER() then
		if not RELAY then
			KSR.registrar.save("location", 0)
			return 1
		end
		KSR.path.add_path_received()
		KSR.pv.sets("$du", "sip:@PBX@")
		return relay()
	end
	if KSR.is_INVITE() then KSR.rr.record_route() end
	edit_request()
	if web then
		if KSR.mtree.mt_match(PREFIXES, KSR.pv.get("$rU"), 0) < 0 then
			KSR.sl.sl_send_reply(404, "No Route")
			return 1
		end
		KSR.pv.sets("$du", KSR.pv.get("$var(next)"))
		return relay()
	end
	if KSR.registrar.lookup("location") < 0 then
		KSR.sl.sl_send_reply(404, "Not Found")
		return 1
	end
	return relay()
end

function ksr_xhttp_event(evname)
	local upgrade = KSR.hdr.get("Upgrade")
	if upgrade ~= nil and string.lower(upgrade) == "websocket" then
		KSR.websocket.handle_handshake()
		return 1
	end
	KSR.xhttp.xhttp_reply(404, "Not Found", "", "")
	return 1
end

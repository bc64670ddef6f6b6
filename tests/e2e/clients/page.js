// What a test asks of a page, whichever client plays in it.
const peers = [];
window.RTCPeerConnection = class extends window.RTCPeerConnection {
  constructor(...options) {
    super(...options);
    peers.push(this);
  }
};

window.video = () => document.querySelector("video");

window.videoStats = async () => {
  const seen = { decoded: 0, frozen_s: 0, lost: 0, nacks: 0, plis: 0, codec: "", width: 0, height: 0 };
  seen.states = peers.map((peer) => peer.connectionState);
  for (const peer of peers) {
    const reports = await peer.getStats();
    reports.forEach((report) => {
      if (report.type !== "inbound-rtp" || report.kind !== "video") return;
      seen.decoded += report.framesDecoded ?? 0;
      seen.frozen_s += report.totalFreezesDuration ?? 0;
      seen.lost += report.packetsLost ?? 0;
      seen.nacks += report.nackCount ?? 0;
      seen.plis += report.pliCount ?? 0;
      seen.codec = reports.get(report.codecId)?.mimeType ?? seen.codec;
      seen.width = report.frameWidth ?? 0;
      seen.height = report.frameHeight ?? 0;
    });
  }
  return seen;
};

window.pixels = () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
  const context = canvas.getContext("2d");
  context.drawImage(window.video(), 0, 0, canvas.width, canvas.height);
  return btoa(String.fromCharCode(...context.getImageData(0, 0, canvas.width, canvas.height).data));
};

// The times (ms) at which pictures were painted, since the last call.
const times = [];
window.painted = () => times.splice(0);
window.watchPaint = () => {
  const note = (now) => {
    times.push(now);
    window.video().requestVideoFrameCallback(note);
  };
  window.video().requestVideoFrameCallback(note);
};

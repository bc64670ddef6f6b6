// The client of the people who wrote WHEP, used as its README shows.
import { WHEPClient } from "whip-whep/whep.js";

let client;

window.play = async (video, url, token, mimeTypes) => {
  const peer = new RTCPeerConnection();
  const transceiver = peer.addTransceiver("video", { direction: "recvonly" });
  if (mimeTypes) {
    const known = RTCRtpReceiver.getCapabilities("video").codecs;
    transceiver.setCodecPreferences(known.filter((codec) => mimeTypes.includes(codec.mimeType)));
  }
  peer.ontrack = (event) => {
    video.srcObject = event.streams[0];
  };
  client = new WHEPClient();
  await client.view(peer, url, token);
};

window.stop = () => client.stop();

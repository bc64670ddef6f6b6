"""What may be in a file or in an answer. FFmpeg also knows formats that list other addresses (concat, SDP, IMF,
playlists): a file of one of these would make it open what it names."""

from __future__ import annotations

_CONTAINERS = """
    3g2 3gp asf asf_o avi dhav dv flv gxf iff ivf kux live_flv lmlm4 lxf m4v matroska mov mp4 mpeg mpegts mpegtsraw mxf
    nsv nut nuv ogg pva rm swf ty wtv webm yuv4mpegpipe 4xm bink film_cpk flic mtv mv mvi roq smk usm vmd wc3movie
"""
_ELEMENTARY = """
    av1 avs2 avs3 cavsvideo dirac evc h261 h263 h264 hevc mjpeg mjpeg_2000 mpegvideo mpjpeg obu smjpeg vc1 vc1test vvc
    aac ac3 eac3 flac mp3 wav webvtt
"""
_PICTURES = """
    apng bmp_pipe exr_pipe gif gif_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_anim jpegxl_pipe pam_pipe pbm_pipe
    pgm_pipe png_pipe ppm_pipe qoi_pipe sgi_pipe tiff_pipe webp_pipe
"""
MEDIA_FORMATS = ",".join(f"{_CONTAINERS} {_ELEMENTARY} {_PICTURES}".split())
"""FFmpeg's ``format_whitelist``: all that is in these is in the one file."""

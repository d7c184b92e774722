"""The media worker: owns calls, holds their WebRTC legs, runs their handlers."""

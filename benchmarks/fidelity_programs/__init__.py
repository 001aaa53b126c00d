"""Programs whose memory is measured on CUDA and on the simulated GPU, and what is made of the measurements."""
